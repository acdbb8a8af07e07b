// The inside of models equals TransformerLens' (goldens by TransformerLens 2.18 without weight processing): every cached
// activation by name, logits under every intervention; a batch of different interventions equals its rows one by one.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import { type Intervention, matchHookPoints, resumeAt, withInterventions } from "../src/hooks/mod.ts";
import { cachedRows } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, compiled, evaluate, floats, ints, relativeError, testRuntime } from "./evaluate.ts";
import { goldenFamily, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

async function labOf(name: string) {
  const golden = await goldenFamily(name);
  const path = fileURLToPath(new URL(`goldens/lab/${name}/transformer-lens.safetensors`, import.meta.url));
  await using file = await openCheckpoint(path);
  const expected = new Map<string, Array_>();
  for (const [tensor, { shape }] of file.tensors) expected.set(tensor, { shape, data: await file.readFloat32(tensor) });
  const { logits } = wholeForward(golden);
  const graph = t.graph({ logits: logits as t.Value });
  const tokens = (which: "clean" | "other") => {
    const { shape, data } = expected.get(which) as Array_;
    const [rows, length] = shape as [number, number];
    return {
      ids: ints(shape, data as Float32Array),
      positions: ints(
        shape,
        Array.from({ length: rows * length }, (_, i) => i % length),
      ),
      mask: ints(shape, new Array(rows * length).fill(1)),
    };
  };
  const run = (g: t.Graph, inputs: Record<string, Array_>, which: "clean" | "other" = "clean") =>
    evaluate(t.fuse(g), { ...golden.weightValues, ...tokens(which), ...inputs });
  const of = (tensor: string): Array_ => expected.get(tensor) as Array_;
  return { ...golden, graph, run, of, expected };
}
type Lab = Awaited<ReturnType<typeof labOf>>;

const [ROWS, LENGTH] = [2, 11];
const every = (_: number) => true;
/** A mask of shape [...shape, 1] by row, position and head; heads are axis `headAxis`. */
function mask(
  shape: readonly number[],
  at: { position?: (p: number) => boolean; head?: number },
  headAxis = 2,
): Array_ {
  const [position, whole] = [at.position ?? every, [...shape.slice(0, -1), 1]];
  const positionAxis = headAxis === 1 ? 2 : 1;
  const data = new Uint8Array(whole.reduce((a, b) => a * b)).map((_, flat) => {
    const index: number[] = [];
    for (let axis = whole.length - 1, rest = flat; axis >= 0; axis--) {
      index[axis] = rest % (whole[axis] as number);
      rest = Math.floor(rest / (whole[axis] as number));
    }
    return Number(position(index[positionAxis] as number) && (at.head === undefined || index[headAxis] === at.head));
  });
  return { shape: whole, data };
}
const asStrength = ({ shape, data }: Array_, strength: number): Array_ =>
  floats(
    shape,
    Array.from(data as Uint8Array, (flag) => flag * strength),
  );

/** Values at a HookPoint in the run over the other tokens. */
async function other({ graph, run }: Lab, hook: string): Promise<Float32Array> {
  return (await run(t.withTaps(graph, [hook]), {}, "other"))[hook] as Float32Array;
}

interface Case {
  readonly interventions: readonly Intervention[];
  readonly inputs: (lab: Lab) => Promise<Record<string, Array_>>;
}
const one = (hook: string, kind: Intervention["kind"]): Intervention => ({ name: "i", hook, kind });
const z1 = "blocks.1.attn.hook_z";
const zShape = ({ config }: Lab) => [ROWS, LENGTH, config.heads, config.headSize];
const resid = ({ config }: Lab) => [ROWS, LENGTH, config.hiddenSize];
const isLast = (p: number) => p === LENGTH - 1;
const directions = (lab: Lab) =>
  floats(
    [ROWS, lab.config.hiddenSize],
    [...(lab.of("direction").data as Float32Array), ...(lab.of("direction").data as Float32Array)],
  );

const cases: Readonly<Record<string, Case>> = {
  patch_z_L1H1_all: {
    interventions: [one(z1, "set")],
    inputs: async (lab) => ({
      "i.value": floats(zShape(lab), await other(lab, z1)),
      "i.mask": mask(zShape(lab), { head: 1 }),
    }),
  },
  patch_z_L1H1_last: {
    interventions: [one(z1, "set")],
    inputs: async (lab) => ({
      "i.value": floats(zShape(lab), await other(lab, z1)),
      "i.mask": mask(zShape(lab), { head: 1, position: isLast }),
    }),
  },
  zero_z_L0H2: {
    interventions: [one("blocks.0.attn.hook_z", "zero")],
    inputs: async (lab) => ({ "i.mask": mask(zShape(lab), { head: 2 }) }),
  },
  mean_z_L0H0_over_other: {
    interventions: [one("blocks.0.attn.hook_z", "set")],
    inputs: async (lab) => {
      const values = await other(lab, "blocks.0.attn.hook_z");
      const width = lab.config.heads * lab.config.headSize;
      const mean = Array.from({ length: width }, (_, i) => {
        let total = 0;
        for (let at = i; at < values.length; at += width) total += values[at] as number;
        return total / (values.length / width);
      });
      const filled = Array.from({ length: values.length }, (_, i) => mean[i % width] as number);
      return { "i.value": floats(zShape(lab), filled), "i.mask": mask(zShape(lab), { head: 0 }) };
    },
  },
  "steer_resid_post_L0_x2.5": {
    interventions: [one("blocks.0.hook_resid_post", "add")],
    inputs: async (lab) => ({
      "i.vector": directions(lab),
      "i.strength": asStrength(mask(resid(lab), {}), 2.5),
    }),
  },
  "steer_resid_post_L0_x2.5_last": {
    interventions: [one("blocks.0.hook_resid_post", "add")],
    inputs: async (lab) => ({
      "i.vector": directions(lab),
      "i.strength": asStrength(mask(resid(lab), { position: isLast }), 2.5),
    }),
  },
  patch_resid_pre_L1_pos3: {
    interventions: [one("blocks.1.hook_resid_pre", "set")],
    inputs: async (lab) => ({
      "i.value": floats(resid(lab), await other(lab, "blocks.1.hook_resid_pre")),
      "i.mask": mask(resid(lab), { position: (p) => p === 3 }),
    }),
  },
  patch_pattern_L1H1: {
    interventions: [one("blocks.1.attn.hook_pattern", "set")],
    inputs: async (lab) => {
      const shape = [ROWS, lab.config.heads, LENGTH, LENGTH];
      const value = floats(shape, await other(lab, "blocks.1.attn.hook_pattern"));
      return { "i.value": value, "i.mask": mask(shape, { head: 1 }, 1) };
    },
  },
  patch_v_L1_first_kv_of_head1: {
    interventions: [one("blocks.1.attn.hook_v", "set")],
    inputs: async (lab) => {
      const { kvHeads, headSize, heads } = lab.config;
      const shape = [ROWS, LENGTH, kvHeads, headSize];
      const head = kvHeads < heads ? 0 : 1;
      return { "i.value": floats(shape, await other(lab, "blocks.1.attn.hook_v")), "i.mask": mask(shape, { head }) };
    },
  },
  zero_mlp_L0: {
    interventions: [one("blocks.0.hook_mlp_out", "zero")],
    inputs: async (lab) => ({ "i.mask": mask(resid(lab), {}) }),
  },
  frozen_attn_plus_patch: {
    interventions: [
      { name: "freeze", hook: "blocks.1.attn.hook_pattern", kind: "set" },
      { name: "patch", hook: z1, kind: "set" },
    ],
    inputs: async (lab) => {
      const pattern = [ROWS, lab.config.heads, LENGTH, LENGTH];
      return {
        "freeze.value": lab.of("cache.blocks.1.attn.hook_pattern"),
        "freeze.mask": mask(pattern, {}, 1),
        "patch.value": floats(zShape(lab), await other(lab, z1)),
        "patch.mask": mask(zShape(lab), { head: 1 }),
      };
    },
  },
};

for (const name of ["gpt2", "llama", "gpt_neox"]) {
  test(`${name}: every activation equals TransformerLens' cache at 1e-4, by name`, async () => {
    const lab = await labOf(name);
    const hooks = [...lab.expected.keys()].flatMap((key) => (key.startsWith("cache.") ? [key.slice(6)] : []));
    const got = await lab.run(t.withTaps(lab.graph, hooks), {});
    assert.ok(hooks.length > 30);
    for (const hook of hooks) {
      const wanted = Float32Array.from(lab.of(`cache.${hook}`).data as Float32Array, (x) => (x < -1e30 ? 0 : x));
      const ours = (got[hook] as Float32Array).map((x) => (x < -1e30 ? 0 : x));
      const error = relativeError(ours, wanted);
      assert.ok(error < 1e-4, `${hook}: ${error}`);
    }
    assert.ok(relativeError(got.logits as Float32Array, lab.of("logits").data as Float32Array) < 1e-4);
  });

  for (const [label, { interventions, inputs }] of Object.entries(cases))
    test(`${name}: ${label} gives TransformerLens' logits at 1e-4`, async () => {
      const lab = await labOf(name);
      const got = await lab.run(withInterventions(lab.graph, interventions), await inputs(lab));
      const error = relativeError(got.logits as Float32Array, lab.of(label).data as Float32Array);
      assert.ok(error < 1e-4, `${error}`);
      const moved = relativeError(got.logits as Float32Array, lab.of("logits").data as Float32Array);
      assert.ok(moved > 1e-4, "the intervention changes nothing");
    });

  test(`${name}: a row patched from another row of its batch equals the patch with that row's values`, async () => {
    const lab = await labOf(name);
    const value = (await lab.run(t.withTaps(lab.graph, [z1]), {}))[z1] as Float32Array;
    const half = value.length / 2;
    const swapped = Float32Array.from(value, (_, i) => value[(i + half) % value.length] as number);
    const both = mask(zShape(lab), { head: 1 });
    const byRow = await lab.run(withInterventions(lab.graph, [one(z1, "row")]), {
      "i.row": ints([2], [1, 0]),
      "i.mask": both,
    });
    const byValue = await lab.run(withInterventions(lab.graph, [one(z1, "set")]), {
      "i.value": floats(zShape(lab), swapped),
      "i.mask": both,
    });
    assert.deepEqual(byRow.logits, byValue.logits);
  });

  test(`${name}: a component set to 0 is gone, and set to 3 is 3`, async () => {
    const lab = await labOf(name);
    const hook = "blocks.0.hook_resid_post";
    const width = lab.config.hiddenSize;
    const raw = Array.from(lab.of("direction").data as Float32Array);
    const size = Math.hypot(...raw);
    const unit = raw.map((x) => x / size);
    const g = withInterventions(t.withTaps(lab.graph, [hook]), [one(hook, "component")]);
    for (const target of [0, 3]) {
      const got = await lab.run(g, {
        "i.vector": floats([ROWS, width], [...unit, ...unit]),
        "i.target": asStrength(mask(resid(lab), {}), target),
        "i.mask": mask(resid(lab), {}),
      });
      const x = got[hook] as Float32Array;
      for (let row = 0; row < x.length; row += width) {
        const along = unit.reduce((sum, u, i) => sum + u * (x[row + i] as number), 0);
        assert.ok(Math.abs(along - target) < 1e-4, `${along} for ${target}`);
      }
    }
  });

  test(`${name}: one batch with another intervention in each row equals the rows one by one`, async () => {
    const lab = await labOf(name);
    const list: Intervention[] = [
      { name: "zero", hook: "blocks.0.attn.hook_z", kind: "zero" },
      { name: "steer", hook: "blocks.0.hook_resid_post", kind: "add" },
    ];
    const g = withInterventions(lab.graph, list);
    const zero = mask(zShape(lab), { head: 2 });
    const steer = asStrength(mask(resid(lab), {}), 2.5);
    /** The values of some rows; 0 elsewhere. */
    const inRow = ({ shape, data }: Array_, row: number): Array_ => {
      const kept = (data as Float32Array).map((value, i) => (Math.floor((i * ROWS) / data.length) === row ? value : 0));
      return { shape, data: kept };
    };
    const run = (z: Array_, s: Array_) =>
      lab.run(g, { "zero.mask": z, "steer.strength": s, "steer.vector": directions(lab) });
    const [none, off] = [inRow(zero, -1), inRow(steer, -1)];
    const mixed = (await run(inRow(zero, 0), inRow(steer, 1))).logits as Float32Array;
    const [zeroed, steered] = [
      (await run(zero, off)).logits as Float32Array,
      (await run(none, steer)).logits as Float32Array,
    ];
    const half = mixed.length / 2;
    assert.deepEqual(mixed.slice(0, half), zeroed.slice(0, half));
    assert.deepEqual(mixed.slice(half), steered.slice(half));
    assert.deepEqual((await run(none, off)).logits, (await lab.run(lab.graph, {})).logits);
  });

  test(`${name}: interventions over a KvCache, in chunks and token by token, equal those on the whole text`, async () => {
    const lab = await labOf(name);
    const list: Intervention[] = [
      { name: "zero", hook: "blocks.0.attn.hook_z", kind: "zero" },
      { name: "pattern", hook: "blocks.1.attn.hook_rot_q", kind: "zero" },
      { name: "steer", hook: "blocks.0.hook_resid_post", kind: "add" },
    ].filter(({ hook }) => t.hookPoints(lab.graph).includes(hook)) as Intervention[];
    const { heads, headSize, hiddenSize } = lab.config;
    /** Inputs for `length` tokens of one row. */
    const inputs = (length: number, rows: number): Record<string, Array_> => ({
      "zero.mask": mask([rows, length, heads, headSize], { head: 2 }),
      "pattern.mask": mask([rows, length, heads, headSize], { head: 3 }),
      "steer.strength": asStrength(mask([rows, length, hiddenSize], {}), 2.5),
      "steer.vector": floats(
        [rows, hiddenSize],
        Array.from({ length: rows * hiddenSize }, (_, i) => Math.sin(i % hiddenSize)),
      ),
    });
    const whole = await lab.run(withInterventions(lab.graph, list), inputs(LENGTH, ROWS));
    const wanted = (whole.logits as Float32Array).slice(0, LENGTH * lab.config.vocabSize);
    const tokens = cachedRows(lab.config, 1, "T");
    const logits = lab.family.head?.logits(lab.config, lab.weight, lab.family.trace(lab.config, lab.weight, tokens));
    const step = t.fuse(
      withInterventions(t.graph({ ...tokens.caches, logits: logits as t.Value }, [tokens.given]), list),
    );
    await using program = await compiled(step, lab.weightValues);
    const text = Array.from(lab.of("clean").data as Float32Array).slice(0, LENGTH);
    const shape = [1, lab.config.kvHeads, LENGTH + 1, headSize];
    const caches: Record<string, Array_> = {};
    for (const cache of Object.keys(tokens.caches))
      caches[cache.slice(0, -1)] = floats(shape, new Float32Array(shape.reduce((a, b) => a * b)));
    const got: number[] = [];
    for (const [from, to] of [
      [0, 6],
      [6, 7],
      [7, 8],
      [8, 11],
    ] as const) {
      const results = await program.run({
        ...{ ...caches, ...inputs(to - from, 1), ids: ints([1, to - from], text.slice(from, to)) },
        "past.0": { shape: [1], data: Int32Array.of(from) },
      });
      for (const cache of Object.keys(caches)) caches[cache] = floats(shape, results[`${cache}'`] as Float32Array);
      got.push(...(results.logits as Float32Array));
    }
    assert.ok(relativeError(got, wanted) < 1e-5);
  });

  test(`${name}: a patch with the run's own values changes nothing, wherever it is`, async () => {
    const lab = await labOf(name);
    const hooks = t.hookPoints(lab.graph).filter((hook) => /^blocks\.1\./.test(hook));
    const plain = await lab.run(t.withTaps(lab.graph, hooks), {});
    for (const hook of hooks) {
      const g = withInterventions(lab.graph, [one(hook, "set")]);
      const shape = (t.withTaps(lab.graph, [hook]).outputs[hook] as t.Value).shape.map((dim) =>
        dim === "B" ? ROWS : dim === "T" ? LENGTH : (dim as number),
      );
      const got = await lab.run(g, {
        "i.value": floats(shape, plain[hook] as Float32Array),
        "i.mask": mask(shape, {}),
      });
      const error = relativeError(got.logits as Float32Array, plain.logits as Float32Array);
      assert.ok(error < 1e-5, `${hook}: ${error}`);
    }
  });

  test(`${name}: resuming from a captured residual equals the whole run, and computes nothing before it`, async () => {
    const lab = await labOf(name);
    const hook = "blocks.1.hook_resid_pre";
    const captured = (await lab.run(t.withTaps(lab.graph, [hook]), {}))[hook] as Float32Array;
    const resumed = resumeAt(lab.graph, hook);
    const got = await lab.run(resumed, { [`from.${hook}`]: floats(resid(lab), captured) });
    assert.ok(relativeError(got.logits as Float32Array, lab.of("logits").data as Float32Array) < 1e-4);
    const read = t.weightsOf(resumed).map((port) => port.name);
    assert.ok(!read.some((weight) => /\.0\./.test(weight)), read.join());
  });

  test(`${name}: heads' results sum to what attention writes, and the parts of the residual stream to it`, async () => {
    const lab = await labOf(name);
    const parts = [
      "blocks.0.hook_attn_out",
      "blocks.0.hook_mlp_out",
      "blocks.1.hook_attn_out",
      "blocks.1.hook_mlp_out",
    ];
    const [first, last, result] = ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_post", "blocks.1.attn.hook_result"];
    const got = await lab.run(t.withTaps(lab.graph, [...parts, first, last, result]), {});
    const total = (got[first] as Float32Array).map((x, i) =>
      parts.reduce((sum, part) => sum + (got[part]?.[i] as number), x),
    );
    assert.ok(relativeError(total, got[last] as Float32Array) < 1e-5);
    const width = lab.config.hiddenSize;
    const summed = (got[parts[2] as string] as Float32Array).map((_, i) => {
      const row = Math.floor(i / width) * lab.config.heads;
      let sum = 0;
      for (let head = 0; head < lab.config.heads; head++)
        sum += got[result]?.[(row + head) * width + (i % width)] as number;
      return sum;
    });
    // biases are not a head's
    const rest = (got[parts[2] as string] as Float32Array).map((x, i) => x - (summed[i] as number));
    const bias = rest.slice(0, width);
    assert.ok(
      relativeError(
        rest.map((x, i) => x - (bias[i % width] as number)).map((x) => x + 1),
        rest.map(() => 1),
      ) < 1e-5,
    );
  });
}

test("a pattern finds HookPoints, and one that finds none names the nearest", async () => {
  const { graph } = await labOf("llama");
  assert.deepEqual(matchHookPoints(graph, ["blocks.*.attn.hook_{q,k}"]), [
    ...["blocks.0.attn.hook_q", "blocks.0.attn.hook_k", "blocks.1.attn.hook_q", "blocks.1.attn.hook_k"],
  ]);
  assert.throws(
    () => matchHookPoints(graph, ["blocks.0.hook_residpost"]),
    /the nearest are blocks\.0\.hook_resid_post/,
  );
  assert.throws(
    () => withInterventions(graph, [one("blocks.7.hook_mlp_out", "zero")]),
    /no HookPoint matches "blocks\.7/,
  );
});

test("a graph with no interventions is the graph, byte for byte", async () => {
  const lab = await labOf("llama");
  assert.equal(t.graphHash(t.fuse(withInterventions(lab.graph, []))), t.graphHash(t.fuse(lab.graph)));
});
