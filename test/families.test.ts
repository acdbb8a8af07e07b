// family = reference implementation on the golden files (transformers, float32): logits, hidden states, attention patterns,
// greedy continuations, pooled vectors, loss and every gradient; configs as transformers 4 and 5 write them.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, test } from "node:test";
import { familyOf } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, compiled, evaluate, ints, relativeError, testRuntime } from "./evaluate.ts";
import { type GoldenFamily, goldenFamily, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const folder = new URL("goldens/families/", import.meta.url);
const names = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

/** Rows of [B, …, T, width] at real (unpadded) positions T. */
function atReal({ data, shape }: Array_, mask: Array_, width: number): Float32Array {
  const [batch, length] = mask.shape as [number, number];
  const between = data.length / (batch * length * width);
  return Float32Array.from(data as Float32Array).filter((_, i) => {
    const row = Math.floor(i / width);
    const b = Math.floor(row / (between * length));
    assert.ok(b < batch, `${shape} does not begin with ${batch} rows`);
    return Number(mask.data[b * length + (row % length)]) === 1;
  });
}

function inputsOf({ expected, names: all }: GoldenFamily) {
  const [ids, mask] = [expected("input_ids"), expected("attention_mask")];
  const length = ids.shape[1] as number;
  const counted = ints(
    ids.shape,
    Array.from({ length: ids.data.length }, (_, i) => i % length),
  );
  return { ids, mask, positions: all.includes("position_ids") ? expected("position_ids") : counted };
}

/** Parameters that transformers 5 names otherwise than the checkpoints it writes. */
const RENAMED: Readonly<Record<string, string>> = { "grad.lm_head.weight": "grad.embed_out.weight" };

/** A config as transformers 4 wrote it. */
function oldSpelling({ rope_parameters: rope, dtype, ...json }: Record<string, unknown>): Record<string, unknown> {
  const old: Record<string, unknown> = { ...json, torch_dtype: dtype };
  if (rope === undefined) return old;
  type Settings = { rope_theta?: number; rope_type?: string; partial_rotary_factor?: number };
  const kinds = rope as { full_attention?: Settings; sliding_attention?: Settings } & Settings;
  const { rope_theta, partial_rotary_factor, ...scaling } = kinds.full_attention ?? kinds;
  if (kinds.sliding_attention) {
    old.rope_local_base_freq = kinds.sliding_attention.rope_theta;
    old.sliding_window_pattern = 3; // the golden's layers: two with a window, one without, one with
  }
  if (json.model_type === "gpt_neox") {
    old.rotary_pct = partial_rotary_factor;
    old.rotary_emb_base = rope_theta;
    return old;
  }
  delete old.layer_types;
  old.rope_theta = rope_theta;
  old.partial_rotary_factor = partial_rotary_factor;
  old.rope_scaling = scaling.rope_type === "default" ? null : scaling;
  return old;
}

for (const name of names) {
  test(`${name}: outputs, hidden states and attention patterns equal transformers' at 1e-4`, async () => {
    const golden = await goldenFamily(name);
    const { config, expected, names: all } = golden;
    const values = { ...golden.weightValues, ...inputsOf(golden) };
    const { hidden, logits, pooled } = wholeForward(golden);
    const layers = Array.from({ length: config.layers }, (_, l) => l);
    const states = layers.map((l) => `blocks.${l}.hook_resid_pre`);
    const patterns = layers.map((l) => `blocks.${l}.attn.hook_pattern`);
    const outputs = { hidden, ...(logits && { logits }), ...(pooled && { pooled }) };
    const got = await evaluate(t.fuse(t.withTaps(t.graph(outputs), [...states, ...patterns])), values);
    const length = values.ids.shape[1] as number;
    const wanted: [string, string, number][] = [
      ...states.map((tap, i): [string, string, number] => [tap, `hidden_states.${i}`, config.hiddenSize]),
      ...patterns.map((tap, i): [string, string, number] => [tap, `attentions.${i}`, length]),
      ["hidden", `hidden_states.${config.layers}`, config.hiddenSize],
    ];
    if (logits) wanted.push(["logits", "logits", config.vocabSize]);
    else wanted.push(["hidden", "last_hidden_state", config.hiddenSize]);
    for (const [tap, tensor, width] of wanted) {
      const array = expected(tensor);
      const error = relativeError(
        atReal({ shape: array.shape, data: got[tap] as Float32Array }, values.mask, width),
        atReal(array, values.mask, width),
      );
      assert.ok(error < 1e-4, `${tap}: ${error}`);
    }
    assert.equal(pooled !== undefined, all.includes("pooler_output"));
    if (pooled) {
      const error = relativeError(got.pooled as Float32Array, expected("pooler_output").data as Float32Array);
      assert.ok(error < 1e-4, `pooler: ${error}`);
    }
  });

  test(`${name}: a config in transformers 4's spelling is the same configuration`, async () => {
    const { family, config, json } = await goldenFamily(name);
    assert.deepEqual(family.parseConfig(oldSpelling(json)), config);
  });

  if (familyOf((await goldenFamily(name)).json.model_type as string).head === undefined) continue;

  test(`${name}: greedy continuations equal transformers', each row without padding`, async () => {
    const golden = await goldenFamily(name);
    const { ids, mask } = inputsOf(golden);
    const { logits } = wholeForward(golden);
    await using program = await compiled(t.fuse(t.graph({ logits: logits as t.Value })), golden.weightValues);
    const [rows, length] = ids.shape as [number, number];
    const made = golden.expected("greedy");
    const count = made.shape[1] as number;
    for (let row = 0; row < rows; row++) {
      const at = (i: number) => row * length + i;
      const text = Array.from({ length }, (_, i) => i).flatMap((i) =>
        mask.data[at(i)] === 1n ? [Number(ids.data[at(i)])] : [],
      );
      const start = text.length;
      while (text.length < start + count) {
        const whole = [1, text.length];
        const { logits: all } = await program.run({
          ids: ints(whole, text),
          positions: ints(
            whole,
            text.map((_, i) => i),
          ),
          mask: ints(
            whole,
            text.map(() => 1),
          ),
        });
        const last = (all as Float32Array).slice(-golden.config.vocabSize);
        text.push(last.indexOf(Math.max(...last)));
      }
      assert.deepEqual(text.slice(start), Array.from(made.data.slice(row * count, (row + 1) * count), Number));
    }
  });

  test(`${name}: the loss and the gradient of every parameter equal torch's at 1e-3`, async () => {
    const golden = await goldenFamily(name);
    const { family, config, expected, weight } = golden;
    const { ids, mask, positions } = inputsOf(golden);
    const [batch, length] = ids.shape as [number, number];
    const rows: number[] = [];
    for (let i = 0; i < batch * length; i++)
      if ((i + 1) % length !== 0 && mask.data[i] === 1n && mask.data[i + 1] === 1n) rows.push(i);
    const targets = rows.map((row) => Number(ids.data[row + 1]));
    const { logits } = wholeForward(golden);
    const port = (named: string) => t.input(named, "int64", ["N"]);
    const flat = t.gather(t.reshape(logits as t.Value, ["B*T", config.vocabSize]), port("rows"));
    const losses = t.sub(t.logSumExp(flat), t.pick(flat, port("targets")));
    const loss = t.mean(losses, [0]);
    const parameters = Object.fromEntries([...family.weights(config).keys()].map((each) => [each, weight(each)]));
    const got = await evaluate(t.fuse(t.withGradients(t.graph({ loss }), "loss", parameters)), {
      ...golden.weightValues,
      ids,
      mask,
      positions,
      rows: ints([rows.length], rows),
      targets: ints([rows.length], targets),
    });
    assert.ok(relativeError(got.loss as Float32Array, expected("loss").data as Float32Array) < 1e-5);
    const gradients = golden.names.filter((each) => each.startsWith("grad."));
    assert.equal(gradients.length, Object.keys(parameters).length);
    for (const gradient of gradients) {
      const ours = got[gradient] ?? got[RENAMED[gradient] as string];
      const error = relativeError(ours as Float32Array, expected(gradient).data as Float32Array);
      assert.ok(error < 1e-3, `${gradient}: ${error}`);
    }
  });
}

for (const name of ["llama", "llama3-rope"])
  test(`${name}: the loss from hidden states (no logits kept) and its gradients equal torch's`, async () => {
    const golden = await goldenFamily(name);
    const { family, config, expected, weight } = golden;
    const { ids, mask, positions } = inputsOf(golden);
    const length = ids.shape[1] as number;
    const rows = Array.from({ length: ids.data.length }, (_, i) => i).filter(
      (i) => (i + 1) % length !== 0 && mask.data[i] === 1n && mask.data[i + 1] === 1n,
    );
    const port = (named: string) => t.input(named, "int64", ["N"]);
    const flat = t.gather(t.reshape(wholeForward(golden).hidden, ["B*T", config.hiddenSize]), port("rows"));
    const table = weight(family.head?.weight(config) as string);
    const loss = t.linearCrossEntropy(flat, table, port("targets"));
    const parameters = Object.fromEntries([...family.weights(config).keys()].map((each) => [each, weight(each)]));
    const got = await evaluate(t.fuse(t.withGradients(t.graph({ loss }), "loss", parameters)), {
      ...{ ...golden.weightValues, ids, mask, positions, rows: ints([rows.length], rows) },
      targets: ints(
        [rows.length],
        rows.map((row) => Number(ids.data[row + 1])),
      ),
    });
    for (const gradient of golden.names.filter((each) => each.startsWith("grad."))) {
      const error = relativeError(got[gradient] as Float32Array, expected(gradient).data as Float32Array);
      assert.ok(error < 1e-3, `${gradient}: ${error}`);
    }
  });

test("smollm3's windows are on the layers without rotation where layer_types are not written", async () => {
  const { family, json } = await goldenFamily("smollm3");
  const config = family.parseConfig({ ...json, layer_types: null, use_sliding_window: true, sliding_window: 7 });
  assert.deepEqual((config as { windows?: unknown }).windows, [null, null, null, 7]);
});

test("a setting that is not supported is an error that names it", async () => {
  const { family, json } = await goldenFamily("llama");
  const refused: readonly [Record<string, unknown>, RegExp][] = [
    [{ attention_bias: true }, /attention_bias is not supported: got true/],
    [{ hidden_act: "gelu" }, /hidden_act is not supported: got "gelu"/],
    [
      { rope_parameters: { rope_type: "mrope", factor: 2, rope_theta: 1e4 } },
      /rotary scaling is not supported: got mrope, wanted default, linear, dynamic, llama3, yarn or longrope/,
    ],
    [{ rope_parameters: { rope_type: "llama3", rope_theta: 1e4 } }, /"llama3" lacks factor/],
    [{ hidden_size: -1 }, /hidden_size is not supported: got -1/],
    [{ num_key_value_heads: 3 }, /got 4 query heads for 3 key-value heads, wanted a multiple of them/],
    [{ head_dim: 7 }, /got head size 7, wanted an even whole number/],
  ];
  for (const [change, message] of refused) assert.throws(() => family.parseConfig({ ...json, ...change }), message);
});
