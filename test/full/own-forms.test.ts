// The first model's float32 numbers in blocks of our own: perplexity within 0.3 % (q8) and 3 % (q4) of float32 as they are served,
// over the goldens' texts and the one that comes along: some 20,000 tokens, so that the standard error is small beside the bar.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Numbers, writeSafetensors } from "../../src/checkpoint/mod.ts";
import { checkForm, Engine, type TraceModel } from "../../src/engine/mod.ts";
import { SAMPLE_TEXT } from "../../src/engine/sample-text.ts";
import { trace } from "../../src/engine/trace.ts";
import { Runtime } from "../../src/runtime/mod.ts";
import { openResident } from "../setup/resident.ts";
import { smollm2 } from "../setup/smollm2.ts";

const root = await mkdtemp(join(tmpdir(), "irori-own-forms-"));
after(() => rm(root, { recursive: true }));
const engineAt = (home: string) =>
  Engine.open({ home, threads: 2, spinning: false, budgetBytes: () => 8e9, now: () => performance.now() });

/** SmolLM2 as a folder of float32 safetensors, and the ids of a text. */
async function floatFolder(): Promise<{ readonly folder: string; readonly ids: readonly (readonly number[])[] }> {
  await using engine = await engineAt((await smollm2()).home);
  const stored = await engine.pull("smollm2-135m");
  const prepared = await engine.prepare(stored, "f32");
  await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });
  const folder = join(root, "floats");
  await mkdir(folder);
  await using file = await open(join(prepared, "weights.bin"), "r");
  const tensors: Record<string, Numbers> = {};
  for (const [name, tensor] of Object.entries(lease.manifest.tensors)) {
    assert.ok("values" in tensor);
    const data = new Float32Array(tensor.values.length / 4);
    await file.read(new Uint8Array(data.buffer), 0, tensor.values.length, tensor.values.offset);
    tensors[name] = { shape: tensor.shape, data };
  }
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  const { vocabSize, hiddenSize, layers, heads, kvHeads, headSize, maxPositions } = lease.manifest.config;
  const { intermediateSize, epsilon, rotary, isTied } = lease.manifest.config as unknown as {
    intermediateSize: number;
    epsilon: number;
    rotary: { theta: number };
    isTied: boolean;
  };
  const config = {
    ...{ model_type: "llama", hidden_act: "silu", vocab_size: vocabSize, hidden_size: hiddenSize },
    ...{ intermediate_size: intermediateSize, num_hidden_layers: layers, num_attention_heads: heads },
    ...{
      num_key_value_heads: kvHeads,
      head_dim: headSize,
      max_position_embeddings: maxPositions,
      rms_norm_eps: epsilon,
    },
    ...{ rope_theta: rotary.theta, tie_word_embeddings: isTied },
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const golden = (name: string) => readFileSync(new URL(`../goldens/${name}`, import.meta.url), "utf8");
  const texts = [SAMPLE_TEXT, golden("real/long-text.txt"), golden("sentences.txt")];
  const ids = texts.map((text) => [...lease.tokenize(text)]);
  return { folder, ids };
}

/** −log p of each token from the second of a piece on, the weights dequantised: nothing rounds but they. */
async function likelihoods(model: TraceModel, texts: readonly (readonly number[])[]): Promise<number[]> {
  const nll: number[] = [];
  for (const text of texts)
    for (let start = 0; start + 1 < text.length; start += PIECE) {
      const ids = text.slice(start, start + PIECE + 1);
      const { logits } = await trace(model, { ids: [ids.slice(0, -1)] });
      const { shape, data } = logits as Numbers;
      const width = shape.at(-1) as number;
      for (let at = 0; at + 1 < ids.length; at++) {
        const row = data.subarray(at * width, (at + 1) * width) as Float32Array;
        const most = row.reduce((a, b) => Math.max(a, b));
        const sum = row.reduce((total, x) => total + Math.exp(x - most), 0);
        nll.push(most + Math.log(sum) - (row[ids[at + 1] as number] as number));
      }
    }
  return nll;
}
const PIECE = 256;
/** Tokens that are scored as one text. */
const SCORED = 1024;
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

test("SmolLM2's floats as q8 and q4: perplexity within 0.3 % and 3 % of float32; q8 where nothing is named", async (t) => {
  const { folder, ids } = await floatFolder();
  await using engine = await engineAt(join(root, "home"));
  await using runtime = await Runtime.open({ threads: 2, spinning: false });
  const measured = async (form?: "f32" | "q8" | "q4") => {
    await using lease = await engine.lease(folder, { form });
    const served: number[] = [];
    for (const text of ids)
      for (let start = 0; start + 1 < text.length; start += SCORED)
        served.push(...(await lease.score(text.slice(start, start + SCORED + 1))).nll);
    const { form: kind, weightBytes } = lease.manifest;
    const prepared = engine.store.preparedFolder(await engine.pull(folder), kind);
    await using resident = await openResident(prepared, runtime);
    return { kind, weightBytes, served, weights: await likelihoods(await resident.inside(), ids.slice(0, 2)) };
  };
  const [eight, floats, four] = [await measured(), await measured("f32"), await measured("q4")];
  assert.equal(eight.kind, "q8");
  const costs = ({ kind, weightBytes, served, weights }: typeof eight) => {
    const [own, whole] = [cost(weights, floats.weights), cost(served, floats.served)];
    const told = `weights ${own.told}, as served over ${served.length} tokens ${whole.told}`;
    t.diagnostic(`${kind}, ${weightBytes} bytes, perplexity beside float32: ${told}`);
    return { weights: own.share, served: whole.share };
  };
  const [q8, q4] = [costs(eight), costs(four)];
  assert.ok(Math.abs(q8.weights) < 0.003 && Math.abs(q8.served) < 0.003);
  assert.ok(Math.abs(q4.weights) < 0.03 && Math.abs(q4.served) < 0.03);
});

/** How much perplexity grows from the likelihoods b to a, and that as a percentage with its standard error over tokens. */
function cost(a: readonly number[], b: readonly number[]) {
  const differences = a.map((value, i) => value - (b[i] as number));
  const middle = mean(differences);
  const share = Math.expm1(middle);
  const variance = mean(differences.map((value) => (value - middle) ** 2));
  const percent = (value: number) => (100 * value).toFixed(3);
  return { share, told: `${percent(share)} ± ${percent(Math.sqrt(variance / a.length))} %` };
}

test("a check tells the perplexity in a form and in float32, and leaves no float32 form behind", async () => {
  await using engine = await engineAt((await smollm2()).home);
  const stored = await engine.pull("smollm2-135m");
  const hadFloats = await engine.store.hasPrepared(stored, "f32");
  const { form, tokens, perplexity, f32Perplexity } = await checkForm(engine, "smollm2-135m");
  assert.equal(form, "blocks");
  assert.ok(tokens > 1000 && Math.abs(perplexity / f32Perplexity - 1) < 0.01, `${perplexity} ${f32Perplexity}`);
  assert.equal(await engine.store.hasPrepared(stored, "f32"), hadFloats);
});
