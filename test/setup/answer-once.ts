// Prints one sampled answer of the real model as JSON: run in a process of its own by the contract tests.
import { Engine } from "../../src/engine/mod.ts";

await using engine = await Engine.open({
  home: process.argv[2] as string,
  threads: 2,
  spinning: false,
  budgetBytes: () => 8e9,
  now: () => 0,
});
await using lease = await engine.lease("smollm2-135m");
const sampling = { temperature: 0.9, topK: 50, topP: 0.95, repetitionPenalty: 1.1 };
for await (const event of lease.generate({
  prompt: { text: "Once upon a time" },
  seed: 42,
  sampling,
  maxTokens: 48,
  ignoreEos: true,
}))
  if (event.type === "end") console.log(JSON.stringify({ text: event.text, ids: event.ids }));
