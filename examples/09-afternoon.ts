// A user's afternoon: find the heads that carry a fact, by patching; steer an answer; fit an adapter to 50 lines and see the loss
// fall and the answer change.
import { openEngine } from "irori";
import { LoraTraining } from "irori/adapt";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });

// 1. Two prompts that differ in one fact, as rows of one length
const { ids } = lease.tokenPair("The capital of France is the city of", "The capital of Italy is the city of");
const [france, italy] = ids as [number[], number[]];
const [paris, rome] = [" Paris", " Rome"].map((text) => lease.tokenize(text)[0]) as [number, number];
console.log(
  `tokens: ${lease
    .toStrTokens(france)
    .map((text) => JSON.stringify(text))
    .join(" ")}`,
);
const country = lease.positionsOf(france, "France")[0] as number;

// 2. Every head's z of Italy patched into France's run: rows of one batch carry a head of a layer each
const { layers, heads, vocabSize } = lease.manifest.config;
const clean = await lease.trace({ ids: [italy], capture: ["blocks.*.attn.hook_z"], outputs: [] });
const romeOverParis = (logits: Float32Array, row: number): number =>
  (logits[row * vocabSize + rome] as number) - (logits[row * vocabSize + paris] as number);
const batch = Array.from({ length: heads + 1 }, () => france); // the last row is left as it is
const found: { layer: number; head: number; moved: number }[] = [];
for (let layer = 10; layer < layers; layer++) {
  const at = `blocks.${layer}.attn.hook_z`;
  const interventions = Array.from({ length: heads }, (_, head) => ({
    at,
    do: "set" as const,
    value: at,
    heads: [head],
    rows: [head],
  }));
  const { logits } = await lease.trace({ ids: batch, interventions, tensors: clean, only: [-1] });
  const data = logits?.data as Float32Array;
  for (let head = 0; head < heads; head++)
    found.push({ layer, head, moved: romeOverParis(data, head) - romeOverParis(data, heads) });
}
found.sort((a, b) => b.moved - a.moved);
for (const { layer, head, moved } of found.slice(0, 3))
  console.log(`layer ${layer} head ${head} moves Rome over Paris by ${moved.toFixed(2)} nats`);

// 3. The difference of the two countries, added at its place, while an answer streams
const at = "blocks.12.hook_resid_pre";
const [there, here] = [italy, france].map((row) =>
  lease.trace({ ids: [row], capture: [at], outputs: [], only: [country] }),
);
const [to, from] = [(await there)?.[at]?.data, (await here)?.[at]?.data] as [Float32Array, Float32Array];
const vector = [...to].map((x, i) => x - (from[i] as number));
for (const strength of [0, 1]) {
  const interventions = [{ at, do: "steer" as const, vector, strength, positions: [country] }];
  let text = "";
  for await (const event of lease.generate({
    prompt: { ids: france },
    seed: 1,
    maxTokens: 4,
    sampling: { temperature: 0 },
    interventions,
  }))
    if (event.type === "token") text += event.text;
  console.log(`steered by ${strength}: The capital of France is the city of${text}`);
}

// 4. Fifty lines, and what they change
const facts = ["warm", "old", "made of stone", "in the middle of the house", "never cold"];
const examples = Array.from({ length: 50 }, (_, i) => {
  const prompt = lease.tokenize(`Question ${i}: What is an irori?\nAnswer:`);
  return {
    ids: [...prompt, ...lease.tokenize(` A hearth that is ${facts[i % facts.length]}.\n`)],
    learnFrom: prompt.length,
  };
});
const training = LoraTraining.start(await lease.inside(), {
  ...{ rank: 8, alpha: 16, targets: ["q_proj", "v_proj"], rate: 2e-3, schedule: "cosine", warmup: 1 },
  ...{ epochs: 1, batch: 5, weightDecay: 0.01, clip: 1, seed: 0 },
});
for await (const { step, steps, loss } of training.run(examples))
  if (step === 1 || step === steps) console.log(`step ${step} of ${steps}: loss ${loss.toFixed(3)}`);
const prompt = { ids: lease.tokenize("Question 77: What is an irori?\nAnswer:") };
for (const adapter of [undefined, { changes: training.changes, config: {} }]) {
  let text = "";
  for await (const event of lease.generate({
    prompt,
    seed: 1,
    maxTokens: 10,
    sampling: { temperature: 0 },
    stop: ["\n"],
    adapter,
  }))
    if (event.type === "token") text += event.text;
  console.log(`${adapter ? "after" : "before"}:${text}`);
}
