// The demo's memory: it remembers the notes of examples/, answers with citations, notices something, and is killed while it
// writes. It needs no model. It does not know how a memory works inside.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { print } from "../src/cli/output.ts";
import { openMemory } from "../src/machine.ts";
import { importPaths } from "../src/memory/mod.ts";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** Acknowledged writes after which the writer is killed. */
const ENOUGH = 100;

export async function demoMemory(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "irori-demo-"));
  const file = join(folder, "memory.db");
  try {
    await remembers(file);
    await isKilled(file);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function remembers(file: string): Promise<void> {
  await using memory = await openMemory({ file });
  const start = performance.now();
  const { added } = await importPaths(memory.parts, [at("../examples/notes/")]);
  await memory.maintain();
  print(`\nA memory, without a model: ${added} notes remembered in ${(performance.now() - start).toFixed(0)} ms\n\n`);
  for (const question of ["What does Kenji mix into the glaze?", "Who won the match?"]) {
    const { text, sentences, recall } = await memory.ask(question);
    print(`> ${question}\n${text}\n`);
    for (const { number, id } of sentences.flatMap(({ citations }) => citations)) {
      const source = recall.recalled.find(({ episode }) => episode.id === id)?.episode.source;
      print(`  [${number}] ${source?.uri.replace(/.*\//, "")}, ${source?.title}\n`);
    }
  }
  const [told] = await memory.remember("Ash from Kenji's kiln sweetens the sour soil of Mariko's tea terrace.");
  if (told?.spike === undefined) return;
  const { spike, joins } = await memory.why(told.id);
  const { gauge, exchange } = spike.judgement;
  print(`\n+ ${told.text}\nAn insight: F ${gauge.f.toFixed(2)}, p ${exchange.p.toFixed(3)}. It brings together\n`);
  for (const { textA, textB, before, after } of joins.slice(0, 3))
    print(`  ${textA} · ${textB} (closeness ${before.toFixed(2)} before, ${after.toFixed(2)} after)\n`);
}

async function isKilled(file: string): Promise<void> {
  const writer = spawn(process.execPath, [at("demo-writer.ts"), file], { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged: string[] = [];
  let rest = "";
  await new Promise<void>((resolve) => {
    writer.stdout.on("data", (bytes) => {
      const lines = `${rest}${bytes}`.split("\n");
      rest = lines.pop() as string;
      acknowledged.push(...lines);
      if (acknowledged.length >= ENOUGH) writer.kill("SIGKILL");
    });
    writer.once("close", () => resolve());
  });
  await using memory = await openMemory({ file });
  const found = await memory.store.getEpisodes("default", acknowledged);
  const lost = found.filter((one) => one === undefined).length;
  const wrong = (await memory.store.check({ repair: false })).filter(({ isFine }) => !isFine);
  print(`\nA writer was killed (kill -9) after ${acknowledged.length} acknowledged writes: ${lost} lost; `);
  print(
    wrong.length === 0 ? "every invariant of the file holds\n" : `${wrong.map(({ name }) => name).join(", ")} WRONG\n`,
  );
}
