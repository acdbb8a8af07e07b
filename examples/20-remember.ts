// A memory in one file: it is told, asked, and answers from what it was told alone, with citations; it needs no model.
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMemory } from "irori";

const file = join(tmpdir(), `irori-example-${process.pid}.db`);
{
  await using memory = await openMemory({ file });
  await memory.remember([
    "The hearth of the old house is in the middle room.",
    { text: "Aki plays the shamisen on Fridays.", user: "aki", metadata: { kind: "habit" } },
    "囲炉裏の火は消えない。",
  ]);
  const [again] = await memory.remember("The hearth of the old house is in the middle room.");
  console.log(`the same text again: ${again?.as}`);

  for (const question of ["Where is the hearth?", "囲炉裏の火はどうなりますか？", "What does a ticket cost?"]) {
    const { text, sentences } = await memory.ask(question);
    const sources = sentences.flatMap(({ citations }) => citations.map(({ number, id }) => `[${number}] ${id}`));
    console.log(`${question}\n  ${text}\n  ${sources.join(", ") || "no sources"}`);
  }
}
{
  await using memory = await openMemory({ file }); // another day, or another process
  const { recalled } = await memory.recall("music", { metadata: { kind: "habit" } });
  for (const { episode, score, ways } of recalled)
    console.log(`${score.toFixed(2)} ${episode.text} (found by ${Object.keys(ways).join(", ")})`);
}
for (const end of ["", "-wal", "-shm", "-holder"]) rmSync(file + end, { force: true });
