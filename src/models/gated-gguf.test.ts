// Rotary scalings and windows are the same from a GGUF's keys and from config.json.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Gguf, GgufSource } from "./family.ts";
import { gemma3 } from "./gemma3.ts";
import { llama } from "./llama.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";

const json = {
  vocab_size: 160,
  hidden_size: 32,
  intermediate_size: 56,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  hidden_act: "silu",
  rope_theta: 5000,
};

/** The same as a file of `architecture` has it, with more keys and tensors. */
function source(
  architecture: string,
  more: Record<string, unknown> = {},
  tensors: Record<string, number[]> = {},
): GgufSource {
  const keys = {
    context_length: 64,
    embedding_length: 32,
    block_count: 2,
    feed_forward_length: 56,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 5000,
    ...more,
  };
  const all: Record<string, number[]> = { "token_embd.weight": [], "output.weight": [], ...tensors };
  return {
    metadata: new Map<string, unknown>([
      ["general.architecture", architecture],
      ...Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ]),
    has: (name) => name in all,
    shape: (name) => (name === "token_embd.weight" ? [160, 32] : undefined),
    read: async (name) => Float32Array.from(all[name] ?? []),
  };
}
const ofGguf = <C>(family: { readonly gguf?: unknown }, of: GgufSource): Promise<C> =>
  (family.gguf as Gguf<never>).readConfig(of) as Promise<C>;

const scaled = (rope_scaling: object) => llama.parseConfig({ ...json, rope_scaling });
const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 };

test("no scaling, linear and YaRN", async () => {
  assert.deepEqual(await ofGguf(llama, source("llama")), llama.parseConfig(json));
  const linear = { "rope.scaling.type": "linear", "rope.scaling.factor": 4 };
  assert.deepEqual(await ofGguf(llama, source("llama", linear)), scaled({ rope_type: "linear", factor: 4 }));
  assert.deepEqual(
    await ofGguf(llama, source("llama", { "rope.scale_linear": 4 })),
    scaled({ rope_type: "linear", factor: 4 }),
  );
  const keys = { "rope.scaling.type": "yarn", "rope.scaling.factor": 4, "rope.scaling.original_context_length": 16 };
  assert.deepEqual(await ofGguf(llama, source("llama", keys)), scaled(yarn));
  await assert.rejects(ofGguf(llama, source("llama", { ...linear, "rope.scaling.type": "wild" })), {
    code: "unsupported",
    message: /"wild"/,
  });
});

test("phi3's factors, their temperature, and texts within the original positions", async () => {
  const factors = [1, 1.5, 2, 4];
  const rope_scaling = { type: "longrope", short_factor: factors, long_factor: factors.map((f) => 2 * f) };
  const wanted = phi3.parseConfig({ ...json, rope_scaling, original_max_position_embeddings: 16, sliding_window: 12 });
  const keys = {
    "rope.scaling.original_context_length": 16,
    "rope.scaling.attn_factor": Math.sqrt(1 + Math.log(4) / Math.log(16)),
    "attention.sliding_window": 12,
  };
  const tensors = { "rope_factors_short.weight": factors, "rope_factors_long.weight": factors };
  assert.deepEqual(await ofGguf(phi3, source("phi3", keys, tensors)), wanted);
});

test("windows of all layers, of none, of five in six", async () => {
  const windows = async (family: { readonly gguf?: unknown }, of: GgufSource) =>
    (await ofGguf<{ windows?: readonly (number | null)[] }>(family, of)).windows;
  assert.deepEqual(await windows(llama, source("llama", { "attention.sliding_window": 8 })), [8, 8]);
  assert.deepEqual(await windows(qwen2, source("qwen2")), [null, null]);
  const gemma = source("gemma3", { block_count: 7, "attention.sliding_window": 8, "rope.freq_base_swa": 300 });
  assert.deepEqual(await windows(gemma3, gemma), [8, 8, 8, 8, 8, null, 8]);
  const { windowRotary } = await ofGguf<{ windowRotary: { theta: number } }>(gemma3, gemma);
  assert.equal(windowRotary.theta, 300);
});

test("keys and values of different widths, and what a file lacks, are sentences", async () => {
  const wide = source("llama", { "attention.key_length": 8, "attention.value_length": 4 });
  await assert.rejects(ofGguf(llama, wide), { code: "unsupported", message: /keys of 8 and values of 4/ });
  await assert.rejects(ofGguf(llama, source("llama", { block_count: undefined })), /lacks llama\.block_count/);
});
