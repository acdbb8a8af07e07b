// What a steering vector costs while an answer is made: the same answers with and without, interleaved.
// `node bench/steering.ts [MODEL] [--home FOLDER] [--rounds 15]` prints tokens per second of both and their ratio.
import { homedir } from "node:os";
import { parseArgs } from "node:util";
import { defaultHome } from "../src/checkpoint/mod.ts";
import { Engine, GREEDY } from "../src/engine/mod.ts";
import { DECODE_PROMPT, DECODE_TOKENS, decodeRate, promptIds } from "./work.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { home: { type: "string" }, rounds: { type: "string", default: "15" } },
});
const now = () => performance.now();
await using engine = await Engine.open({
  ...{ home: values.home ?? defaultHome(process.platform, process.env, homedir()), threads: 2, spinning: true, now },
  budgetBytes: () => Number.MAX_SAFE_INTEGER,
});
await using lease = await engine.lease(positionals[0] ?? "smollm2-135m");
const { hiddenSize, layers, vocabSize } = lease.manifest.config;
const vector = Array.from({ length: hiddenSize }, (_, i) => Math.sin(i));
const steer = { at: `blocks.${layers >> 1}.hook_resid_post`, do: "steer", vector, strength: 0.01 } as const;
const sides = { plain: [], steered: [steer] };
const rates: Record<string, number[]> = { plain: [], steered: [] };
for (let round = -1; round < Number(values.rounds); round++)
  for (const [name, interventions] of Object.entries(sides)) {
    const at: number[] = [];
    const request = {
      prompt: { ids: promptIds(DECODE_PROMPT, vocabSize) },
      maxTokens: DECODE_TOKENS,
      seed: 1,
      interventions,
    };
    for await (const event of lease.generate({ ...request, sampling: GREEDY, ignoreEos: true }))
      if (event.type === "token") at.push(now());
    if (round >= 0) rates[name]?.push(decodeRate(at));
  }
const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] as number;
const [plain, steered] = [median(rates.plain ?? []), median(rates.steered ?? [])];
const best = Math.max(...(rates.steered ?? [])) / Math.max(...(rates.plain ?? []));
console.log(
  `plain ${plain.toFixed(1)} tokens/s, steered ${steered.toFixed(1)}: ${(steered / plain).toFixed(3)} x (of best ${best.toFixed(3)} x)`,
);
