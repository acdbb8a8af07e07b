// Two experiments in one process, as a user of the settings would write them: notes are embedded, the closest to a question are shown
// to who answers. Prints when each was done and what was loaded meanwhile, as JSON. Argument: a preset.
import type { Embedder, Generator } from "../../src/engine/mod.ts";
import { embedderOf, generatorOf } from "../../src/engine/mod.ts";
import { openEngine, readSettings } from "../../src/machine.ts";
import { providerNamed } from "../../src/settings/mod.ts";

const NOTES = [
  "The hearth stood in the middle of the house.",
  "Trains to the coast leave every hour.",
  "She tuned the violin and began to play.",
  "Bread wants flour, water, salt and time.",
];
const SHOWN = 2;
const TOKENS = 16;

const { settings } = readSettings({ flags: [{ key: "preset", value: process.argv[2], from: "the bench" }] });
const loads: string[] = [];
const onEvent = ({ type, model }: { readonly type: string; readonly model: string }) => loads.push(`${type} ${model}`);
let engine: ReturnType<typeof openEngine> | undefined;
const setting = {
  engine: {
    lease: async (...asked: Parameters<Awaited<ReturnType<typeof openEngine>>["lease"]>) => {
      engine ??= openEngine({ settings, onEvent });
      return (await engine).lease(...asked);
    },
  },
  keyIn: () => undefined,
};
await using embedder = await embedderOf(providerNamed(settings.embedder, settings.providers), setting);
await using generator = await generatorOf(providerNamed(settings.generator, settings.providers), setting);

async function experiment(embed: Embedder, answer: Generator, question: string): Promise<string> {
  const { vectors } = await embed.embed([...NOTES, question]);
  const last = vectors.at(-1) as Float32Array;
  const cosine = (i: number) => (vectors[i] as Float32Array).reduce((sum, x, j) => sum + x * (last[j] as number), 0);
  const closest = NOTES.map((_, i) => i).sort((a, b) => cosine(b) - cosine(a));
  const shown = closest.slice(0, SHOWN).map((i) => NOTES[i]);
  const prompt = { messages: [{ role: "user", content: `${shown.join(" ")}\n${question}` }] };
  for await (const event of answer.generate({ prompt, seed: 1, maxTokens: TOKENS }))
    if (event.type === "end") return event.text;
  throw new Error("no end");
}

const told: { ms: number; loads: string[] }[] = [];
for (const question of ["Where was the hearth?", "When do trains leave?"]) {
  const start = told.length === 0 ? 0 : performance.now();
  await experiment(embedder, generator, question);
  told.push({ ms: performance.now() - start, loads: loads.splice(0) });
}
console.log(JSON.stringify(told));
await (await engine)?.[Symbol.asyncDispose]();
