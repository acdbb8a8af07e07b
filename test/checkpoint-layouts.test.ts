// A checkpoint in shards, in float16 or in bfloat16 is the same model: what its numbers are, bit for bit.
import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import { Engine } from "../src/engine/mod.ts";

const golden = fileURLToPath(new URL("goldens/families/llama", import.meta.url));
let home: string;
let engine: Engine;
const weights = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-layouts-"));
  const now = () => performance.now();
  engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 2 ** 40 });
  await using file = await openCheckpoint(join(golden, "model.safetensors"));
  for (const [name, { shape }] of file.tensors) weights.set(name, { shape, data: await file.readFloat32(name) });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

type Type = "F32" | "F16" | "BF16";
/** The upper half of a float32: bfloat16 by truncation. */
const upper = (data: Float32Array): Uint16Array =>
  Uint16Array.from(new Uint32Array(data.buffer, data.byteOffset, data.length), (bits) => bits >>> 16);
const encoded: Readonly<Record<Type, (data: Float32Array) => Uint8Array>> = {
  F32: (data) => new Uint8Array(data.slice().buffer),
  F16: (data) => new Uint8Array(Float16Array.from(data).buffer),
  BF16: (data) => new Uint8Array(upper(data).buffer),
};
/** What is left of float32 numbers in a type. */
const rounded: Readonly<Record<Type, (data: Float32Array) => Float32Array>> = {
  F32: (data) => data,
  F16: (data) => Float32Array.from(Float16Array.from(data)),
  BF16: (data) => new Float32Array(Uint32Array.from(upper(data), (bits) => bits << 16).buffer),
};

/** A safetensors file of some weights. */
function safetensors(names: readonly string[], type: Type, change = rounded.F32): Uint8Array {
  const header: Record<string, object> = {};
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const name of names) {
    const { shape, data } = weights.get(name) as { shape: readonly number[]; data: Float32Array };
    const bytes = encoded[type](change(data));
    header[name] = { dtype: type, shape, data_offsets: [end, end + bytes.length] };
    parts.push(bytes);
    end += bytes.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  return Buffer.concat([new Uint8Array(new BigUint64Array([BigInt(json.length)]).buffer), json, ...parts]);
}

/** Logits and every residual of a folder with these files beside the golden's configuration. */
async function traced(label: string, files: Readonly<Record<string, string | Uint8Array>>) {
  const folder = join(home, label);
  await mkdir(folder);
  await copyFile(join(golden, "config.json"), join(folder, "config.json"));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  await using lease = await engine.lease(`file:${folder}`, { form: "f32", warm: false });
  return await lease.trace({ ids: [[5, 17, 23, 42, 9]], capture: ["blocks.*.hook_resid_post"] });
}

function sharded(type: Type, without?: string): Record<string, string | Uint8Array> {
  const names = [...weights.keys()].filter((name) => name !== without);
  const halves = [names.filter((_, i) => i % 2 === 0), names.filter((_, i) => i % 2 === 1)];
  const fileOf = (half: number): string => `model-0000${half + 1}-of-00002.safetensors`;
  const index = halves.flatMap((half, i) => half.map((name) => [name, fileOf(i)]));
  return {
    "model.safetensors.index.json": JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(index) }),
    ...Object.fromEntries(halves.map((half, i) => [fileOf(i), safetensors(half, type)])),
  };
}

for (const type of ["F32", "F16", "BF16"] as const)
  test(`${type}, single and sharded, is the model of the numbers that the type keeps`, async () => {
    const names = [...weights.keys()];
    const wanted = await traced(`${type}-wanted`, { "model.safetensors": safetensors(names, "F32", rounded[type]) });
    const single = await traced(`${type}-single`, { "model.safetensors": safetensors(names, type) });
    const shards = await traced(`${type}-shards`, sharded(type));
    for (const [hook, { data }] of Object.entries(wanted)) {
      assert.deepEqual(single[hook]?.data, data, `single, ${hook}`);
      assert.deepEqual(shards[hook]?.data, data, `sharded, ${hook}`);
    }
  });

test("a shard that is missing, or a weight that no shard has, is a sentence", async () => {
  const { "model-00002-of-00002.safetensors": _, ...cut } = sharded("F32");
  await assert.rejects(traced("cut", cut), /model-00002-of-00002\.safetensors/);
  const name = "model.layers.1.mlp.up_proj.weight";
  const lacking = sharded("F32", name);
  await assert.rejects(traced("lacking", lacking), /model\.layers\.1\.mlp\.up_proj\.weight/);
});

test("a configuration that the tensors contradict: each contradiction is named", async () => {
  const json = JSON.parse(await readFile(join(golden, "config.json"), "utf8"));
  const files = { "model.safetensors": safetensors([...weights.keys()], "F32") };
  const withConfig = (label: string, change: object) =>
    traced(label, { ...files, "config.json": JSON.stringify({ ...json, ...change }) });
  await assert.rejects(withConfig("wide", { hidden_size: 48 }), {
    code: "bad-file",
    message:
      /2 layers of 48.*embed_tokens\.weight is \[160,32\] instead of \[160,48\]; .*q_proj\.weight is \[32,32\] instead.*; and \d+ more/,
  });
  await assert.rejects(withConfig("deep", { num_hidden_layers: 3 }), /layers\.2\.self_attn\.q_proj\.weight is missing/);
  await assert.rejects(withConfig("shallow", { num_hidden_layers: 1 }), /layers\.1\.\S+ belongs to a layer beyond 1/);
  await assert.rejects(withConfig("untied", { tie_word_embeddings: false }), /got lm_head\.weight is missing; fetch/);
});
