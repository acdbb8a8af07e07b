// A family of one's own: one literal says its configuration, its weights and its program; HookPoints, interventions, gradients and
// answers over a KvCache come with it. This one is a bag of embeddings that looks back through one attention.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "irori";
import { addFamily, type Config, type Family } from "irori/models";
import { add, gather, linear, reshape, rmsNorm, tap, type Value } from "irori/tensor";

interface TinyConfig extends Config {
  readonly epsilon: number;
}
const shapes = (c: TinyConfig) => ({
  "embed.weight": [c.vocabSize, c.hiddenSize],
  "q.weight": [c.hiddenSize, c.hiddenSize],
  "k.weight": [c.hiddenSize, c.hiddenSize],
  "v.weight": [c.hiddenSize, c.hiddenSize],
  "norm.weight": [c.hiddenSize],
});
const tiny: Family<TinyConfig> = {
  name: "tiny",
  modelTypes: ["tiny"],
  prefix: "",
  isCausal: true,
  loraTargets: ["q", "v"],
  parseConfig: (json) => json as TinyConfig,
  weights: (c) => new Map(Object.entries(shapes(c))),
  trace: (c, weightOf, tokens) => {
    const w = (name: keyof ReturnType<typeof shapes>): Value => weightOf(name, shapes(c)[name]);
    const x = tap(gather(w("embed.weight"), tokens.ids), "hook_embed");
    const heads = (name: "q" | "k" | "v"): Value =>
      tap(reshape(linear(x, w(`${name}.weight`)), [...tokens.lead, c.heads, c.headSize]), `blocks.0.attn.hook_${name}`);
    const options = { scale: 1 / Math.sqrt(c.headSize), hook: "blocks.0.attn" };
    const z = tokens.attend(0, heads("q"), heads("k"), heads("v"), undefined, options);
    const out = add(x, reshape(tap(z, "blocks.0.attn.hook_z"), [...tokens.lead, c.hiddenSize]));
    return rmsNorm(tap(out, "blocks.0.hook_resid_post"), w("norm.weight"), c.epsilon, "ln_final");
  },
  head: {
    weight: () => "embed.weight",
    logits: (c, weightOf, hidden) => linear(hidden, weightOf("embed.weight", [c.vocabSize, c.hiddenSize])),
  },
};

// a checkpoint of it: config.json, and random weights in the layout of safetensors
const config: TinyConfig = {
  ...{ vocabSize: 50, layers: 1, heads: 2, kvHeads: 2, headSize: 16, hiddenSize: 32, maxPositions: 64, epsilon: 1e-5 },
};
const folder = mkdtempSync(join(tmpdir(), "irori-family-"));
writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "tiny", ...config }));
const header: Record<string, object> = {};
let end = 0;
for (const [name, shape] of tiny.weights(config)) {
  const bytes = 4 * shape.reduce((a, b) => a * b);
  header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes] };
  end += bytes;
}
const json = new TextEncoder().encode(JSON.stringify(header));
const values = Float32Array.from({ length: end / 4 }, (_, i) => Math.sin(i * i) * 0.5);
const length = new BigUint64Array([BigInt(json.length)]);
writeFileSync(
  join(folder, "model.safetensors"),
  Buffer.concat([length, json, values].map((x) => Buffer.from(x.buffer, x.byteOffset, x.byteLength))),
);

addFamily(tiny);
await using engine = await openEngine({ home: join(folder, "home") });
await using lease = await engine.lease(`file:${folder}`, { form: "f32", warm: false });
console.log(`HookPoints: ${(await lease.hookPoints()).join(", ")}`);
const ids = [[3, 1, 4, 1, 5, 9, 2, 6]];
const at = "blocks.0.attn.hook_pattern";
const interventions = [{ at, do: "zero" as const, heads: [1] }];
const [plain, ablated] = [await lease.trace({ ids, capture: [at] }), await lease.trace({ ids, interventions })];
console.log(`the last token looks at itself by ${Number(plain[at]?.data[63]).toFixed(3)}`);
console.log(
  `logit 7: ${Number(plain.logits?.data.at(-43)).toFixed(3)}, with a head ablated ${Number(ablated.logits?.data.at(-43)).toFixed(3)}`,
);
for await (const event of lease.generate({
  prompt: { ids: ids[0] ?? [] },
  seed: 1,
  maxTokens: 5,
  sampling: { temperature: 0 },
}))
  if (event.type === "end") console.log(`over a KvCache it goes on with ${event.ids.join(", ")}`);
rmSync(folder, { recursive: true });
