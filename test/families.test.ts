// family = reference implementation on the golden files (transformers, float32): logits, hidden states, greedy, loss and every gradient.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, ints, relativeError, testRuntime } from "./evaluate.ts";
import { type GoldenFamily, goldenFamily, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

/** Rows of [B·T, width] at real (unpadded) positions. */
const atReal = (data: ArrayLike<number>, mask: Array_): Float32Array => {
  const width = data.length / mask.data.length;
  return Float32Array.from(data).filter((_, i) => Number(mask.data[Math.floor(i / width)]) === 1);
};

function inputsOf({ expected }: GoldenFamily) {
  return { ids: expected("input_ids"), mask: expected("attention_mask"), positions: expected("position_ids") };
}

for (const name of ["llama", "llama3-rope"]) {
  test(`${name}: logits, hidden states and attention patterns equal transformers' at 1e-4`, async () => {
    const golden = await goldenFamily(name);
    const { config, expected } = golden;
    const values = { ...golden.weightValues, ...inputsOf(golden) };
    const { hidden, logits } = wholeForward(golden);
    const layers = Array.from({ length: config.layers }, (_, l) => l);
    const states = ["hook_embed", ...layers.slice(0, -1).map((l) => `blocks.${l}.hook_resid_post`)];
    const patterns = layers.map((l) => `blocks.${l}.attn.hook_pattern`);
    const g = t.fuse(t.withTaps(t.graph({ logits, hidden }), [...states, ...patterns]));
    const got = await evaluate(g, values);
    const wanted = [
      ...states.map((tap, i) => [tap, `hidden_states.${i}`]),
      ["hidden", `hidden_states.${config.layers}`],
      ["logits", "logits"],
    ];
    for (const [tap, tensor] of wanted as [string, string][]) {
      const error = relativeError(
        atReal(got[tap] as Float32Array, values.mask),
        atReal(expected(tensor).data as Float32Array, values.mask),
      );
      assert.ok(error < 1e-4, `${tap}: ${error}`);
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
    const { hidden } = wholeForward(golden);
    const port = (named: string) => t.input(named, "int64", ["N"]);
    const flat = t.reshape(hidden, ["B*T", config.hiddenSize]);
    const loss = t.linearCrossEntropy(t.gather(flat, port("rows")), weight(family.headWeight(config)), port("targets"));
    const parameters = Object.fromEntries([...family.weights(config).keys()].map((each) => [each, weight(each)]));
    const g = t.fuse(t.withGradients(t.graph({ loss }), "loss", parameters));
    const got = await evaluate(g, {
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
      const error = relativeError(got[gradient] as Float32Array, expected(gradient).data as Float32Array);
      assert.ok(error < 1e-3, `${gradient}: ${error}`);
    }
  });

  test(`${name}: a config in transformers 4's spelling is the same configuration`, async () => {
    const { family, config, json } = await goldenFamily(name);
    const {
      rope_parameters: rope,
      dtype,
      ...rest
    } = json as Record<string, unknown> & { rope_parameters: Record<string, unknown> };
    const { rope_theta, ...scaling } = rope;
    const old = {
      ...rest,
      torch_dtype: dtype,
      rope_theta,
      rope_scaling: scaling.rope_type === "default" ? null : scaling,
    };
    assert.deepEqual(family.parseConfig(old), config);
  });
}

test("a setting that is not supported is an error that names it", async () => {
  const { family, json } = await goldenFamily("llama");
  const refused: readonly [Record<string, unknown>, RegExp][] = [
    [{ attention_bias: true }, /attention_bias is not supported: got true/],
    [{ hidden_act: "gelu" }, /hidden_act is not supported: got "gelu"/],
    [
      { rope_parameters: { rope_type: "yarn", factor: 2, rope_theta: 1e4 } },
      /rotary scaling is not supported for llama: got yarn, wanted default, linear or llama3/,
    ],
    [{ rope_parameters: { rope_type: "llama3", rope_theta: 1e4 } }, /"llama3" lacks factor/],
    [{ hidden_size: -1 }, /hidden_size is not supported: got -1/],
    [{ num_key_value_heads: 3 }, /got 4 query heads for 3 key-value heads, wanted a multiple of them/],
    [{ head_dim: 7 }, /got head size 7, wanted an even whole number/],
  ];
  for (const [change, message] of refused) assert.throws(() => family.parseConfig({ ...json, ...change }), message);
});
