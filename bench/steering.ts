// What a steering vector and a capture cost while an answer is made: the same answers with and without, interleaved.
// `node bench/steering.ts [MODEL] [--home FOLDER] [--rounds 15]` prints tokens per second of each and the ratios to the plain one.
import { parseArgs } from "node:util";
import { GREEDY } from "../src/engine/mod.ts";
import { openEngine } from "../src/machine.ts";
import { summary } from "./figures.ts";
import { DECODE_PROMPT, DECODE_TOKENS, decodeRate, promptIds } from "./work.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { home: { type: "string" }, rounds: { type: "string", default: "15" } },
});
const now = () => performance.now();
await using engine = await openEngine({ threads: 2, spinning: true, ...(values.home && { home: values.home }) });
await using lease = await engine.lease(positionals[0] ?? "smollm2-135m");
const { hiddenSize, layers, vocabSize } = lease.manifest.config;
const hook = `blocks.${layers >> 1}.hook_resid_post`;
const vector = Array.from({ length: hiddenSize }, (_, i) => Math.sin(i));
const sides = {
  plain: {},
  "a steering vector": { interventions: [{ at: hook, do: "steer", vector, strength: 0.01 } as const] },
  "one HookPoint captured": { capture: [hook] },
};
const rates: Record<string, number[]> = {};
const order = Object.entries(sides);
for (let round = -1; round < Number(values.rounds); round++) {
  // each side is first as often as the others: who comes after a pause is faster
  const turn = (round + order.length) % order.length;
  for (const [name, inside] of [...order.slice(turn), ...order.slice(0, turn)]) {
    const at: number[] = [];
    const prompt = { ids: promptIds(DECODE_PROMPT, vocabSize) };
    const request = { prompt, maxTokens: DECODE_TOKENS, seed: 1, sampling: GREEDY, ignoreEos: true, ...inside };
    for await (const event of lease.generate(request)) if (event.type === "token") at.push(now());
    if (round >= 0) rates[name] = [...(rates[name] ?? []), decodeRate(at)];
  }
}
const plain = summary(rates.plain ?? []);
for (const [name, all] of Object.entries(rates)) {
  const { median, minimum, maximum } = summary(all);
  const ratios = `${(median / plain.median).toFixed(3)} x plain, of best ${(maximum / plain.maximum).toFixed(3)} x`;
  console.log(`${name}: ${median.toFixed(1)} (${minimum.toFixed(1)}–${maximum.toFixed(1)}) tokens/s, ${ratios}`);
}
