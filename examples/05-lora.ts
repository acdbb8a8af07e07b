// A LoRA adapter on 40 lines: the loss falls, and the answer changes. Nothing of the model's own weights does.
import { openEngine } from "irori";
import { LoraTraining } from "irori/adapt";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });
const things = ["fire", "river", "stone", "cloud", "lamp", "bread", "bell", "snow", "boat", "tea"];
const examples = Array.from({ length: 40 }, (_, i) => {
  const thing = `${things[i % things.length]} number ${i}`;
  const prompt = lease.tokenize(`Q: What does the irori say about ${thing}?\nA:`);
  return { ids: [...prompt, ...lease.tokenize(" The fire never goes out.\n")], learnFrom: prompt.length };
});
const training = LoraTraining.start(await lease.inside(), {
  ...{ rank: 4, alpha: 8, targets: ["q_proj", "v_proj"], rate: 3e-3, schedule: "linear", warmup: 0 },
  ...{ epochs: 1, batch: 4, weightDecay: 0.01, clip: 1, seed: 0 },
});
for await (const { step, steps, loss } of training.run(examples))
  console.log(`step ${step} of ${steps}: loss ${loss.toFixed(3)}`);

const ids = [lease.tokenize("Q: What does the irori say about winter?\nA:")];
for (const adapter of [undefined, { changes: training.changes, config: {} }]) {
  const [made = []] = await lease.traceGreedy({ ids, adapter }, 7);
  console.log(`${adapter ? "adapted" : "as it was"}:${lease.detokenize(made).trimEnd()}`);
}
