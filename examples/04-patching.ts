// Where does the model keep the capital? The residual stream of one prompt is patched into another, layer by layer, at the
// last token; then a vector between the two prompts steers the answer.
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });
const [france, italy] = ["The capital of France is", "The capital of Italy is"].map((text) => lease.tokenize(text));
const [paris, rome] = [" Paris", " Rome"].map((text) => lease.tokenize(text)[0]);
if (!france || !italy || paris === undefined || rome === undefined || france.length !== italy.length)
  throw new Error("the prompts must be of one length");

/** How much likelier Rome is than Paris, in nats, after the last token. */
function romeOverParis({ logits }: Awaited<ReturnType<typeof lease.trace>>): number {
  const data = logits?.data as Float32Array;
  const last = data.length - lease.manifest.config.vocabSize;
  return (data[last + (rome as number)] as number) - (data[last + (paris as number)] as number);
}

const layers = lease.manifest.config.layers;
const other = await lease.trace({ ids: [italy], capture: ["blocks.*.hook_resid_pre"] });
console.log(
  `France: ${romeOverParis(await lease.trace({ ids: [france] })).toFixed(2)}, Italy: ${romeOverParis(other).toFixed(2)}`,
);
for (let layer = 0; layer < layers; layer += 5) {
  const at = `blocks.${layer}.hook_resid_pre`;
  const interventions = [{ at, do: "set" as const, value: at, positions: [-1] }];
  const patched = await lease.trace({ ids: [france], interventions, tensors: other });
  console.log(`Italy's last token patched into France's at layer ${layer}: ${romeOverParis(patched).toFixed(2)}`);
}

// the difference of the two prompts at one layer, added while tokens are made
const at = "blocks.25.hook_resid_pre";
const plain = await lease.trace({ ids: [france], capture: [at], outputs: [] });
const last = (data: Float32Array) => [...data.slice(-lease.manifest.config.hiddenSize)];
const from = last(plain[at]?.data as Float32Array);
const vector = last(other[at]?.data as Float32Array).map((x, i) => x - (from[i] as number));
for (const strength of [0, 1]) {
  const interventions = [{ at, do: "steer" as const, vector, strength }];
  const [made = []] = await lease.traceGreedy({ ids: [france], interventions }, 4);
  console.log(`strength ${strength}: The capital of France is${lease.detokenize(made)}`);
}
