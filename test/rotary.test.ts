// Rotary scalings equal transformers': logits of one tiny llama under each setting (goldens/make/rotary.py), and what is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import { familyOf, maskOf, wholeSequence } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, ints, relativeError, testRuntime } from "./evaluate.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const file = (name: string): string => fileURLToPath(new URL(`goldens/rotary/${name}`, import.meta.url));
const { cases } = JSON.parse(readFileSync(file("cases.json"), "utf8")) as {
  readonly cases: readonly { readonly name: string; readonly config: Record<string, unknown> }[];
};
const llama = familyOf("llama");

async function logitsOf(json: Record<string, unknown>): Promise<Float32Array> {
  await using checkpoint = await openCheckpoint(file("model.safetensors"));
  await using golden = await openCheckpoint(file("expected.safetensors"));
  const config = llama.parseConfig(json);
  const values: Record<string, Array_> = { ids: ints([1, 60], await golden.readFloat32("input_ids")) };
  for (const [name, shape] of llama.weights(config)) values[name] = { shape, data: await checkpoint.readFloat32(name) };
  const port = (name: string): t.Value => t.input(name, "int64", ["B", "T"]);
  const weight = (name: string, shape: readonly number[]): t.Value => t.weight(name, "float32", shape);
  const hidden = llama.trace(config, weight, wholeSequence(port("ids"), port("positions"), maskOf(port("mask"), true)));
  const logits = llama.head?.logits(config, weight, hidden) as t.Value;
  const order = Array.from({ length: 60 }, (_, i) => i);
  values.positions = ints([1, 60], order);
  values.mask = ints(
    [1, 60],
    order.map(() => 1),
  );
  const all = (await evaluate(t.fuse(t.graph({ logits })), values)).logits as Float32Array;
  return all.filter((_, i) => Math.floor(i / config.vocabSize) % 6 === 0);
}

const plain = logitsOf(cases[0]?.config as Record<string, unknown>);

for (const [i, { name, config }] of cases.entries())
  test(`${name}: logits equal transformers' at 1e-4, in both spellings`, async () => {
    await using golden = await openCheckpoint(file("expected.safetensors"));
    const wanted = await golden.readFloat32(`logits.${i}`);
    const { rope_parameters, ...rest } = config as { rope_parameters: Record<string, unknown> };
    const { rope_theta, ...scaling } = rope_parameters;
    const old = { ...rest, rope_theta, rope_scaling: scaling.rope_type === "default" ? null : scaling };
    for (const json of [config, old]) assert.ok(relativeError(await logitsOf(json), wanted) < 1e-4);
    // a setting that were ignored would pass otherwise
    if (!["default", "dynamic"].includes(name)) assert.ok(relativeError(await plain, wanted) > 1e-2);
  });

test("what is not supported, or lacks what it needs, is refused by name", () => {
  const base = cases[0]?.config as Record<string, unknown>;
  const parse = (rope: Record<string, unknown>) => () => llama.parseConfig({ ...base, rope_parameters: rope });
  assert.throws(parse({ rope_type: "mrope" }), /"?mrope.*default, linear, dynamic, llama3, yarn or longrope/);
  assert.throws(parse({ rope_type: "yarn" }), /"yarn" lacks factor/);
  assert.throws(parse({ rope_type: "longrope", original_max_position_embeddings: 32 }), /lacks short_factor/);
});

test("longrope keeps a text within the original positions", () => {
  const { config } = cases.find(({ name }) => name === "longrope") as (typeof cases)[number];
  assert.equal(config.max_position_embeddings, 256);
  assert.equal(llama.parseConfig(config).maxPositions, 64);
  // as its first files spelt it, and beside a rope_parameters of the default kind
  const { rope_parameters, ...rest } = config as { rope_parameters: Record<string, unknown> };
  const { rope_type: _, rope_theta, ...scaling } = rope_parameters;
  const old = { ...rest, rope_theta, rope_scaling: { type: "su", ...scaling } };
  const wanted = JSON.stringify(llama.parseConfig(config));
  assert.equal(JSON.stringify(llama.parseConfig(old)), wanted);
  const both = { ...old, rope_parameters: { rope_type: "default", rope_theta } };
  assert.equal(JSON.stringify(llama.parseConfig(both)), wanted);
});
