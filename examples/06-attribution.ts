// Which heads carry the capital? Attribution patching (Nanda 2023): gradient x difference, one run forward and back for every head,
// where patching them one by one takes a run each.
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });
const { ids } = lease.tokenPair("The capital of France is", "The capital of Italy is");
const [france, italy] = ids as [number[], number[]];
const [paris, rome] = [" Paris", " Rome"].map((text) => lease.tokenize(text)[0]) as [number, number];

// ten lines: values of one prompt, values and gradients of the other, and their product summed by head
const at = ["blocks.*.attn.hook_z"];
const of = [
  { position: -1, id: rome, weight: 1 },
  { position: -1, id: paris, weight: -1 },
];
const other = await lease.trace({ ids: [italy], capture: at, outputs: [] });
const run = await lease.trace({ ids: [france], capture: at, outputs: [], gradients: { of, at } });
const { heads, headSize } = lease.manifest.config;
const scores = Object.keys(other).flatMap((hook) => {
  const [there, here, gradient] = [other[hook], run[hook], run[`grad.${hook}`]].map((x) => x?.data as Float32Array);
  const byHead = new Float64Array(heads);
  here?.forEach((x, i) => {
    const head = Math.floor(i / headSize) % heads;
    byHead[head] = (byHead[head] as number) + (gradient?.[i] as number) * ((there?.[i] as number) - x);
  });
  return [...byHead].map((score, head) => ({ hook, head, score }));
});

// the first of them, patched for real
const difference = async (interventions: Parameters<typeof lease.trace>[0]["interventions"]): Promise<number> => {
  const { metric } = await lease.trace({
    ids: [france],
    tensors: other,
    interventions,
    outputs: [],
    gradients: { of, at: ["hook_embed"] },
  });
  return Number(metric?.data[0]);
};
const before = await difference([]);
console.log(`Rome over Paris: ${before.toFixed(2)}; ${scores.length} heads in two runs`);
for (const { hook, head, score } of scores.sort((a, b) => b.score - a.score).slice(0, 4)) {
  const patched = await difference([{ at: hook, do: "set", value: hook, heads: [head] }]);
  console.log(`${hook} head ${head}: attributed ${score.toFixed(2)}, patched ${(patched - before).toFixed(2)}`);
}
