// LoRA adapters equal peft's (goldens by peft 0.21): logits, loss, gradients, three AdamW steps; merged = applied; another
// adapter in each row = one by one; what is written is what peft wrote.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { AdamW, clipGradients, learningRate, Sgd } from "../src/adapt/mod.ts";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import {
  type Adapter,
  loraByRow,
  loraInputs,
  mergeInto,
  readAdapter,
  withLora,
  writeAdapter,
} from "../src/hooks/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, compiled, evaluate, floats, ints, relativeError, testRuntime } from "./evaluate.ts";
import { goldenFamily, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const golden = (name: string): string => fileURLToPath(new URL(`goldens/adapters/${name}`, import.meta.url));
const names = { "gpt2-c_attn": "gpt2", "llama-q-v": "llama", "llama-q-k-v-o-gate-up-down": "llama" } as const;

async function caseOf(name: keyof typeof names) {
  const model = await goldenFamily(names[name]);
  const adapter = await readAdapter(golden(name));
  await using file = await openCheckpoint(join(golden(name), "expected.safetensors"));
  const expected = new Map<string, Array_>();
  for (const [tensor, { shape }] of file.tensors) expected.set(tensor, { shape, data: await file.readFloat32(tensor) });
  const ids = expected.get("input_ids") as Array_;
  const [rows, length] = ids.shape as [number, number];
  const inputs: Record<string, Array_> = {
    ...model.weightValues,
    ids: ints(ids.shape, ids.data as Float32Array),
    positions: ints(
      ids.shape,
      Array.from({ length: rows * length }, (_, i) => i % length),
    ),
    mask: ints(ids.shape, new Array(rows * length).fill(1)),
  };
  const of = (tensor: string): Float32Array => expected.get(tensor)?.data as Float32Array;
  const logits = wholeForward(model).logits as t.Value;
  return { model, adapter, inputs, of, expected, graph: t.graph({ logits }), rows, length };
}

/** The adapter's values as inputs. */
function valuesOf({ changes }: Adapter): Record<string, Array_> {
  const inputs: Record<string, Array_> = {};
  for (const { weight, rank, a, b } of changes) {
    const named = loraInputs("lora", weight);
    inputs[named.a] = floats([rank, a.length / rank], a);
    inputs[named.b] = floats([b.length / rank, rank], b);
  }
  return inputs;
}

for (const name of Object.keys(names) as (keyof typeof names)[]) {
  test(`${name}: logits equal peft's at 1e-4, and merged = applied`, async () => {
    const { model, adapter, inputs, of, graph } = await caseOf(name);
    const applied = await evaluate(t.fuse(withLora(graph, "lora", adapter.changes)), {
      ...inputs,
      ...valuesOf(adapter),
    });
    assert.ok(relativeError(applied.logits as Float32Array, of("logits")) < 1e-4);
    const merged = { ...inputs };
    for (const change of adapter.changes) {
      const { shape, data } = model.weightValues[change.weight] as Array_;
      const values = Float32Array.from(data as Float32Array);
      mergeInto(values, shape, change, model.family.name === "gpt2");
      merged[change.weight] = { shape, data: values };
    }
    const got = await evaluate(t.fuse(graph), merged);
    assert.ok(relativeError(got.logits as Float32Array, applied.logits as Float32Array) < 1e-5);
  });

  test(`${name}: loss, gradients and three AdamW steps equal peft's under torch at 1e-3`, async () => {
    const { model, adapter, inputs, of, expected, graph, rows, length } = await caseOf(name);
    const { logits } = withLora(graph, "lora", adapter.changes).outputs as { logits: t.Value };
    const port = (named: string) => t.input(named, "int64", ["N"]);
    const flat = t.gather(t.reshape(logits, ["B*T", model.config.vocabSize]), port("rows"));
    const loss = t.mean(t.sub(t.logSumExp(flat), t.pick(flat, port("targets"))), [0]);
    const parameters: Record<string, t.Value> = {};
    for (const { weight, rank, a, b } of adapter.changes) {
      const [named, module] = [loraInputs("lora", weight), weight.replace(/\.weight$/, "")];
      parameters[`${module}.lora_A.weight`] = t.input(named.a, "float32", [rank, a.length / rank]);
      parameters[`${module}.lora_B.weight`] = t.input(named.b, "float32", [b.length / rank, rank]);
    }
    await using program = await compiled(
      t.fuse(t.withGradients(t.graph({ loss, logits }), "loss", parameters)),
      inputs,
    );
    const at = Array.from({ length: rows * length }, (_, i) => i).filter((i) => (i + 1) % length !== 0);
    const targets = at.map((i) => Number(inputs.ids?.data[i + 1]));
    const batch = { ...inputs, rows: ints([at.length], at), targets: ints([at.length], targets) };
    const values = valuesOf(adapter);
    const run = () => program.run({ ...batch, ...values });

    const first = await run();
    assert.ok(relativeError(first.loss as Float32Array, of("loss")) < 1e-5);
    for (const tensor of expected.keys())
      if (tensor.startsWith("grad."))
        assert.ok(relativeError(first[tensor] as Float32Array, of(tensor)) < 1e-3, `${tensor} differs`);

    const optimizer = new AdamW({ weightDecay: 0.01 });
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      const results = await run();
      losses.push(results.loss?.[0] as number);
      const all = Object.entries(parameters).map(([parameter, { node }]) => ({
        values: values[node.attrs.name as string]?.data as Float32Array,
        gradient: results[`grad.${parameter}`] as Float32Array,
      }));
      optimizer.step(all, 1e-2);
    }
    assert.ok(relativeError(losses, of("adamw_losses")) < 1e-3, `${losses} for ${of("adamw_losses")}`);
    const after = (await run()).logits as Float32Array;
    assert.ok(relativeError(after, of("logits_after_3_adamw")) < 1e-3);
  });

  test(`${name}: another adapter in each row of a batch equals the rows one by one`, async () => {
    const { adapter, inputs, of, graph } = await caseOf(name);
    const both: Record<string, Array_> = {};
    for (const [input, { shape, data }] of Object.entries(valuesOf(adapter)))
      both[input] = floats([2, ...shape], [...(data as Float32Array), ...new Float32Array(data.length)]);
    const g = withLora(graph, "lora", adapter.changes, { rows: "B" });
    const mixed = (await evaluate(t.fuse(g), { ...inputs, ...both })).logits as Float32Array;
    const plain = (await evaluate(t.fuse(graph), inputs)).logits as Float32Array;
    const half = mixed.length / 2;
    assert.ok(relativeError(mixed.slice(0, half), of("logits").slice(0, half)) < 1e-4);
    assert.ok(relativeError(mixed.slice(half), plain.slice(half)) < 1e-6);
  });

  test(`${name}: written again, it is what peft wrote`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "irori-adapter-"));
    try {
      const adapter = await readAdapter(golden(name));
      await writeAdapter(folder, adapter);
      assert.deepEqual(await readAdapter(folder), adapter);
      const json = async (path: string) => JSON.parse(await readFile(join(path, "adapter_config.json"), "utf8"));
      assert.deepEqual(await json(folder), await json(golden(name)));
      await using ours = await openCheckpoint(join(folder, "adapter_model.safetensors"));
      await using theirs = await openCheckpoint(join(golden(name), "adapter_model.safetensors"));
      assert.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort());
      for (const tensor of theirs.tensors.keys()) assert.deepEqual(await ours.read(tensor), await theirs.read(tensor));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

test("over quantised weights, another adapter in each row equals the rows one by one, and merging", async () => {
  const [rows, length, width, out, rank] = [3, 4, 64, 32, 2];
  const wave = (size: number, by: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * by));
  const format = { bits: 4, block: 32, zero: 8 } as const;
  const codes: Array_ = { shape: [out, 2, 16], data: Uint8Array.from({ length: out * 32 }, (_, i) => (i * 37) % 256) };
  const scales = floats([out, 2], wave(out * 2, 0.7));
  const w = t.dequantize(
    t.weight("w.weight#codes", "uint8", [out, 2, 16]),
    t.weight("w.weight#scales", "float32", [out, 2]),
    undefined,
    format,
  );
  // whole numbers up to 127 in each block: the kernel's rounding of x is exact
  const x = floats(
    [rows, length, width],
    Array.from({ length: rows * length * width }, (_, i) => (i % 32 === 0 ? 127 : ((i * 53) % 255) - 127)),
  );
  const plain = t.graph({ y: t.linear(t.input("x", "float32", ["B", "T", width]), w) });
  const change = (seed: number) => ({
    ...{ weight: "w.weight", rank, scale: 0.5 + seed },
    ...{ a: wave(rank * width, 1.3 + seed), b: wave(out * rank, 2.1 + seed) },
  });
  const adapters = [[change(1)], [], [change(2)]];
  const { changes, values } = loraByRow("lora", adapters);
  const weights = { "w.weight#codes": codes, "w.weight#scales": scales };
  const fused = t.fuse(withLora(plain, "lora", changes, { rows: "B" }));
  assert.match(t.printGraph(fused), /blockProduct/);
  const together = (await evaluate(fused, { ...weights, x, ...(values as Record<string, Array_>) })).y as Float32Array;
  const dense = (await evaluate(t.fuse(t.graph({ w })), weights)).w as Float32Array;
  for (const [row, own] of adapters.entries()) {
    const merged = Float32Array.from(dense);
    for (const each of own) mergeInto(merged, [out, width], each, false);
    const part = (x.data as Float32Array).slice(row * length * width, (row + 1) * length * width);
    const wanted = Array.from({ length: length * out }, (_, i) => {
      const [at, o] = [Math.floor(i / out), i % out];
      let sum = 0;
      for (let k = 0; k < width; k++) sum += (part[at * width + k] as number) * (merged[o * width + k] as number);
      return sum;
    });
    const got = together.slice(row * length * out, (row + 1) * length * out);
    assert.ok(relativeError(got, Float32Array.from(wanted)) < 1e-5, `row ${row}`);
  }
});

test("an adapter for another model says which weights do not fit", async () => {
  const { graph } = await caseOf("gpt2-c_attn");
  const { changes } = await readAdapter(golden("llama-q-v"));
  assert.throws(() => withLora(graph, "lora", changes), /got model\.layers\.0\.self_attn\.q_proj\.weight/);
});

test("alpha by pattern, rsLoRA and settings that are not supported", async () => {
  const folder = await mkdtemp(join(tmpdir(), "irori-adapter-"));
  try {
    const { changes, config } = await readAdapter(golden("llama-q-v"));
    const scales = async (change: Record<string, unknown>) => {
      await writeAdapter(folder, { changes, config: { ...config, ...change } });
      return (await readAdapter(folder)).changes.map(({ scale }) => scale);
    };
    assert.deepEqual(new Set(await scales({})), new Set([2]));
    assert.deepEqual(new Set(await scales({ use_rslora: true })), new Set([4]));
    assert.deepEqual(new Set(await scales({ alpha_pattern: { v_proj: 4 } })), new Set([2, 1]));
    await assert.rejects(scales({ use_dora: true }), /use_dora/);
    await assert.rejects(scales({ modules_to_save: ["lm_head"] }), /modules_to_save/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("clipping bounds the norm over all gradients; schedules rise and fall; SGD steps down the gradient", () => {
  const parameters = [
    { values: Float32Array.of(1, 2), gradient: Float32Array.of(3, 0) },
    { values: Float32Array.of(3), gradient: Float32Array.of(4) },
  ];
  assert.equal(clipGradients(parameters, 1), 5);
  assert.deepEqual(
    parameters.map(({ gradient }) => [...gradient]),
    [[Math.fround(0.6), 0], [Math.fround(0.8)]],
  );
  new Sgd().step(parameters, 1);
  assert.ok(Math.abs((parameters[0]?.values[0] as number) - 0.4) < 1e-6);
  const rate = (kind: "constant" | "linear" | "cosine", step: number) =>
    learningRate(kind, { peak: 1, step, steps: 12, warmup: 2 });
  assert.deepEqual(
    [0, 1, 2, 11].map((step) => rate("constant", step)),
    [1 / 3, 2 / 3, 1, 1],
  );
  assert.deepEqual(
    [2, 7].map((step) => rate("linear", step)),
    [1, 0.5],
  );
  assert.ok(Math.abs(rate("cosine", 7) - 0.5) < 1e-12);
});
