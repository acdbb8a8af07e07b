// Pulls, prepares, packs and opens a model, answers, and prints what it thinks of a text: a process of its own that tests kill.
import { Engine, GREEDY } from "../../src/engine/mod.ts";

const [home, model] = process.argv.slice(2) as [string, string];
await using engine = await Engine.open({ home, threads: 1, spinning: false, budgetBytes: () => 8e9, now: () => 0 });
await using lease = await engine.lease(model);
for await (const event of lease.generate({
  prompt: { text: "hearth" },
  seed: 1,
  sampling: GREEDY,
  maxTokens: 4,
  ignoreEos: true,
}))
  if (event.type === "end") {
    const { nll } = await lease.score(lease.tokenize("warmth in the hearth"));
    console.log([...event.ids, ...nll].join());
  }
