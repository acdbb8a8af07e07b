// A user's week with a memory: a folder of notes, questions, a correction, what held last week, an insight with its evidence,
// and somebody forgotten for good, down to the bytes of the file.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openMemory } from "irori";
import { importPaths } from "irori/memory";

const folder = mkdtempSync(join(tmpdir(), "irori-week-"));
const file = join(folder, "week.db");
const notes = fileURLToPath(new URL("notes/", import.meta.url));
{
  await using memory = await openMemory({ file });
  console.log(`Monday: ${(await importPaths(memory.parts, [notes])).added} notes`);
  console.log(`again: ${(await importPaths(memory.parts, [notes])).added} new`);
  await memory.maintain();

  const answer = await memory.ask("What does Kenji mix into the glaze?");
  const cited = answer.recall.recalled.find(({ episode }) => episode.id === answer.sentences[0]?.citations[0]?.id);
  const { uri = "", start = 0, end = 0 } = cited?.episode.source ?? {};
  console.log(`Tuesday: ${answer.text}`);
  console.log(`  it stands there: ${readFileSync(uri.replace("file://", ""), "utf8").slice(start, end)}`);

  const [told] = await memory.remember("The market is on Saturday.");
  const before = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await memory.correct(told?.id as string, "The market is on Sunday.", { since: Date.now() });
  console.log(`Wednesday: ${(await memory.ask("When is the market?")).text}`);
  console.log(`  as of before: ${(await memory.ask("When is the market?", { asOf: before })).text}`);
  console.log(`  its history: ${(await memory.history(told?.id as string)).map(({ text }) => text).join(" → ")}`);

  const [found] = await memory.remember("Ash from Kenji's kiln sweetens the sour soil of Mariko's tea terrace.");
  const why = await memory.why(found?.spike?.id as string);
  const { gauge, exchange } = why.spike.judgement;
  console.log(
    `Thursday: an insight, F ${gauge.f.toFixed(2)}, p ${exchange.p.toFixed(3)}, replayed bit-equal: ${why.isSame}`,
  );
  for (const { textA, textB, before, after } of why.joins.slice(0, 2))
    console.log(`  ${textA} | ${textB}: ${before.toFixed(2)} before, ${after.toFixed(2)} after`);
  const { steps, weakest } = await memory.bridge("glaze", "harvest");
  console.log(`Friday: from glaze to harvest in ${steps.length} steps, the weakest link ${weakest?.link?.kind}`);

  const { episodes } = await memory.forget({ about: "Kenji" });
  console.log(
    `Saturday: ${episodes} episodes about Kenji forgotten; ${(await memory.ask("Who mixes ash into the glaze?")).text}`,
  );
}
const left = readdirSync(folder).filter((name) => /kenji/i.test(readFileSync(join(folder, name), "latin1")));
console.log(`Sunday: files that hold the name: ${left.length === 0 ? "none" : left.join(", ")}`);
rmSync(folder, { recursive: true });
