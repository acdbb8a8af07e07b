// What a request may ask of the inside, on the golden families: wanted positions, values to go on from, gradients by HookPoints
// and of logit differences, adapters in each row; the same while tokens are made, over KvCaches; and what bad input gets.
import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../src/base/mod.ts";
import { openCheckpoint, writeSafetensors } from "../src/checkpoint/mod.ts";
import { Engine, GREEDY, type Lease, type Traced, type TraceRequest } from "../src/engine/mod.ts";
import type { InterventionSpec, Numbers } from "../src/hooks/mod.ts";
import { families } from "../src/models/mod.ts";
import { relativeError } from "./evaluate.ts";
import { randomAdapter } from "./setup/random-adapter.ts";

let home: string;
let engine: Engine;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-inside-"));
  const now = () => performance.now();
  engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 2 ** 40 });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

const open = (family: string): Promise<Lease> =>
  engine.lease(`file:${fileURLToPath(new URL(`goldens/families/${family}`, import.meta.url))}`, {
    form: "f32",
    warm: false,
  });
const IDS = [
  [5, 17, 23, 42, 42, 9, 21, 30],
  [22, 22, 90, 11, 7, 60, 33, 14],
];
const numbersOf = (traced: Traced, name: string): Float32Array => {
  assert.ok(traced[name], `${name} is missing among ${Object.keys(traced).join(", ")}`);
  return (traced[name] as Numbers).data as Float32Array;
};
const close = (got: ArrayLike<number>, wanted: ArrayLike<number>, what: string, most = 1e-5): void => {
  const error = relativeError(Float32Array.from(got), Float32Array.from(wanted));
  assert.ok(error < most, `${what}: ${error}`);
};
const decoders = families.filter(({ head }) => head !== undefined).map(({ name }) => name);

/** Positions `wanted` of an axis of x [B, T, …], or of queries of [B, H, T, …]. */
function cut({ shape, data }: Numbers, wanted: readonly number[], axis: number): number[] {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const size = shape[axis] as number;
  const outer = data.length / (inner * size);
  const at = (o: number, p: number) =>
    Array.from(data.slice((o * size + p) * inner, (o * size + p + 1) * inner), Number);
  return Array.from({ length: outer }, (_, o) => wanted.flatMap((p) => at(o, p))).flat();
}

for (const { name } of families)
  test(`${name}: wanted positions of outputs and of every HookPoint are those of the whole run, padding or not`, async () => {
    await using lease = await open(name);
    const attentionMask = [
      [1, 1, 1, 1, 1, 1, 1, 1],
      [0, 0, 1, 1, 1, 1, 1, 1],
    ];
    const request: TraceRequest = { ids: IDS, attentionMask, capture: ["*"] };
    const [whole, some] = [await lease.trace(request), await lease.trace({ ...request, only: [-1, 2] })];
    for (const [hook, value] of Object.entries(some)) {
      const all = whole[hook] as Numbers;
      const isByQuery = /hook_(attn_scores|pattern)$/.test(hook);
      const axis = isByQuery ? 2 : 1;
      if (all.shape[axis] !== 8) continue; // a pooled output has no positions
      // rows begin at 0 and at 2: position 2 is the third of each row's own text
      const inner = all.data.length / 2;
      const row = (r: number): Numbers => ({
        shape: [1, ...all.shape.slice(1)],
        data: all.data.slice(r * inner, (r + 1) * inner) as Float32Array,
      });
      const wanted = [...cut(row(0), [7, 2], axis), ...cut(row(1), [7, 4], axis)];
      assert.equal(value.shape[axis], 2, hook);
      close(value.data as Float32Array, wanted, hook);
    }
  });

for (const name of decoders)
  test(`${name}: going on from a captured residual, also with an intervention behind it, equals the whole run`, async () => {
    await using lease = await open(name);
    const at = "blocks.1.hook_resid_pre";
    const captured = await lease.trace({ ids: IDS, capture: [at], outputs: [] });
    const from = { [at]: captured[at] as Numbers };
    const interventions: InterventionSpec[] = [{ at: "blocks.1.attn.hook_z", do: "zero", heads: [1] }];
    const asked: Partial<TraceRequest>[] = [{}, { interventions }, { interventions, only: [-1] }];
    for (const more of asked)
      close(
        numbersOf(await lease.trace({ ids: IDS, ...more, from }), "logits"),
        numbersOf(await lease.trace({ ids: IDS, ...more }), "logits"),
        JSON.stringify(more),
      );
    const before = [{ at: "blocks.0.hook_resid_pre", do: "zero" } as const];
    await assert.rejects(lease.trace({ ids: IDS, from, interventions: before }), /no HookPoint matches "blocks\.0/);
    const short = { [at]: { shape: [1, 8, 4], data: new Float32Array(32) } };
    await assert.rejects(
      lease.trace({ ids: IDS, from: short }),
      /values to go on from: got \[1,8,4\], wanted \[2,8,\d+\]/,
    );
  });

for (const name of decoders)
  test(`${name}: gradients of a logit difference by HookPoints equal central differences`, async () => {
    await using lease = await open(name);
    const of = [
      { position: -1, id: 7, weight: 1 },
      { position: -1, id: 11, weight: -1 },
      { position: 3, id: 2, weight: 0.5, rows: [1] },
    ];
    const hooks = ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"];
    const traced = await lease.trace({ ids: IDS, capture: hooks, outputs: [], gradients: { of, at: hooks } });
    const metric = numbersOf(traced, "metric");
    assert.deepEqual(Object.keys(traced).sort(), [...hooks, ...hooks.map((hook) => `grad.${hook}`), "metric"].sort());
    const { logits } = await lease.trace({ ids: IDS });
    const v = lease.manifest.config.vocabSize;
    const logit = (row: number, at: number, id: number) => Number((logits as Numbers).data[(row * 8 + at) * v + id]);
    const difference = (row: number) => logit(row, 7, 7) - logit(row, 7, 11);
    close(metric, [difference(0), difference(1) + 0.5 * logit(1, 3, 2)], "metric");
    const random = seededRandom(5);
    for (const hook of hooks) {
      const [value, gradient] = [traced[hook] as Numbers, numbersOf(traced, `grad.${hook}`)];
      const direction = Float32Array.from(value.data as Float32Array, () => random.next() * 2 - 1);
      const step = 3e-3;
      const moved = async (by: number): Promise<number> => {
        const data = Float32Array.from(value.data as Float32Array, (x, i) => x + by * (direction[i] as number));
        const set = [{ at: hook, do: "set", value: "moved" } as const];
        const tensors = { moved: { shape: value.shape, data } };
        const run = await lease.trace({
          ids: IDS,
          interventions: set,
          tensors,
          outputs: [],
          gradients: { of, at: [hook] },
        });
        return numbersOf(run, "metric").reduce((a, b) => a + b);
      };
      const numeric = ((await moved(step)) - (await moved(-step))) / (2 * step);
      const along = gradient.reduce((sum, g, i) => sum + g * (direction[i] as number), 0);
      const size = Math.hypot(...gradient) * Math.hypot(...direction);
      assert.ok(Math.abs(numeric - along) < 2e-3 * size, `${hook}: ${along} against ${numeric}`);
    }
  });

test("the loss in chunks, and its gradients, are those of one piece", async () => {
  await using lease = await open("llama");
  const random = seededRandom(9);
  const long = Array.from({ length: 30 }, () => Array.from({ length: 32 }, () => Math.floor(random.next() * 90)));
  const whole = await lease.trace({ ids: long, gradients: true, outputs: [] });
  // rows one by one are one chunk each
  const parts = await Promise.all(long.map((row) => lease.trace({ ids: [row], gradients: true, outputs: [] })));
  const mean = (name: string): Float32Array =>
    numbersOf(whole, name).map(
      (_, i) => parts.reduce((sum, part) => sum + (numbersOf(part, name)[i] as number), 0) / parts.length,
    );
  for (const name of Object.keys(whole)) close(numbersOf(whole, name), mean(name), name, 1e-4);
});

for (const name of decoders)
  test(`${name}: another adapter in each row, of another rank and for other weights, equals the rows one by one`, async () => {
    await using lease = await open(name);
    const { loraTargets } = (await lease.inside()).family;
    const first = await randomAdapter(lease, loraTargets, 2, 1);
    const second = await randomAdapter(lease, loraTargets.slice(0, 1), 3, 2);
    const ids = [IDS[0], IDS[0], IDS[0]] as number[][];
    const together = numbersOf(await lease.trace({ ids, adapter: [first, undefined, second] }), "logits");
    const width = together.length / 3;
    for (const [row, adapter] of [first, undefined, second].entries()) {
      const alone = numbersOf(await lease.trace({ ids: [ids[0] as number[]], adapter }), "logits");
      close(together.slice(row * width, (row + 1) * width), alone, `row ${row}`);
    }
    await assert.rejects(lease.trace({ ids, adapter: [first] }), /adapters, one a row: got 1, wanted 3/);
  });

const COUNT = 6;
async function answer(lease: Lease, prompt: readonly number[], inside: object) {
  const all: Record<string, number[][]> = {};
  const request = { prompt: { ids: prompt }, seed: 1, sampling: GREEDY, maxTokens: COUNT, ignoreEos: true, ...inside };
  const steps: { from: number; tensors: Traced }[] = [];
  for await (const event of lease.generate(request)) {
    if (event.type === "captured") steps.push({ from: event.from, tensors: event.tensors });
    if (event.type === "end") return { ids: event.ids, steps, all };
  }
  throw new Error("no end");
}

for (const name of ["llama", "mistral", "gemma2"])
  test(`${name}: values captured while tokens are made are those of the whole text`, async () => {
    await using lease = await open(name);
    const capture = [
      "blocks.1.hook_resid_post",
      "blocks.0.attn.hook_z",
      "blocks.1.attn.hook_pattern",
      "ln_final.hook_scale",
    ];
    const prompt = IDS[0] as number[];
    const { ids, steps } = await answer(lease, prompt, { capture });
    const whole = await lease.trace({ ids: [[...prompt, ...ids.slice(0, -1)]], capture });
    assert.deepEqual(
      steps.map(({ from }) => from),
      [0, 8, 9, 10, 11, 12],
    );
    for (const hook of capture) {
      const all = whole[hook] as Numbers;
      const axis = /pattern/.test(hook) ? 2 : 1;
      for (const { from, tensors } of steps) {
        const got = tensors[hook] as Numbers;
        const places = Array.from({ length: got.shape[axis] as number }, (_, i) => from + i);
        const wanted = cut(all, places, axis);
        const keys = got.shape.at(-1) as number;
        const same = axis === 2 ? wanted.filter((_, i) => i % 13 < keys) : wanted;
        close(got.data as Float32Array, same, `${hook} from ${from}`);
      }
    }
  });

for (const name of ["llama", "mistral", "gpt_neox", "gemma3"])
  test(`${name}: an adapter while tokens are made equals the one over the whole text`, async () => {
    await using lease = await open(name);
    const adapter = await randomAdapter(lease, (await lease.inside()).family.loraTargets, 2, 12);
    const prompt = IDS[1] as number[];
    const [whole] = await lease.traceGreedy({ ids: [prompt], adapter }, COUNT);
    assert.deepEqual((await answer(lease, prompt, { adapter })).ids, whole);
    assert.notDeepEqual((await answer(lease, prompt, {})).ids, whole);
  });

for (const name of decoders)
  test(`${name}: an adapter on the head while tokens are made equals the one over the whole text`, async () => {
    await using lease = await open(name);
    const { family, config } = await lease.inside();
    const weight = family.head?.weight(config) as string;
    const [out, width] = family.weights(config).get(weight) as [number, number];
    const wave = (size: number, by: number) =>
      Float32Array.from({ length: size }, (_, i) => Math.sin(i * i * by) * 0.6);
    const change = { weight, rank: 3, scale: 2, a: wave(3 * width, 0.37), b: wave(3 * out, 0.71) };
    const adapter = { changes: [change], config: {} };
    const prompt = IDS[1] as number[];
    const [whole] = await lease.traceGreedy({ ids: [prompt], adapter }, COUNT);
    assert.deepEqual((await answer(lease, prompt, { adapter })).ids, whole);
    assert.notDeepEqual((await answer(lease, prompt, {})).ids, whole);
    // each row its own: a tied embedding is a table, not a layer, and stays; logits of a loss gather rows of all texts
    const by = { ids: IDS, adapter: [adapter, undefined] };
    await assert.rejects(lease.trace({ ...by, gradients: true }), /reads rows of all texts together/);
    assert.ok(numbersOf(await lease.trace(by), "logits").length > 0);
  });

test("every HookPoint can be captured while tokens are made", async () => {
  await using lease = await open("gpt2");
  const { steps } = await answer(lease, IDS[0] as number[], { capture: ["*"] });
  const names = Object.keys((steps[0] as (typeof steps)[number]).tensors);
  assert.deepEqual(names.sort(), (await lease.hookPoints()).toSorted());
});

test("greedy tokens take positions and processing from the request, as the trace does", async () => {
  await using lease = await open("gpt2");
  const interventions: InterventionSpec[] = [{ at: "blocks.0.ln2.hook_normalized", do: "set", value: 0.5 }];
  const processing = { foldLn: true, centerWritingWeights: true, centerUnembed: true, foldValueBiases: true };
  const text = IDS[0] as number[];
  for (const more of [{ processing, interventions }, { positions: [text.map((_, i) => i + 10)] }]) {
    const [made = []] = await lease.traceGreedy({ ids: [text], ...more }, 3);
    const ids = [...text];
    for (const id of made) {
      const positions = "positions" in more ? [ids.map((_, i) => i + 10)] : undefined;
      const { logits } = await lease.trace({ ids: [ids], ...more, positions, only: [-1] });
      const all = Array.from((logits as Numbers).data, Number);
      assert.equal(all.indexOf(Math.max(...all)), id, JSON.stringify(more));
      ids.push(id);
    }
  }
  const from = { "blocks.1.hook_resid_pre": { shape: [1, 8, 32], data: new Float32Array(256) } };
  await assert.rejects(lease.traceGreedy({ ids: [text], from }, 1), /from of a trace while tokens are made/);
});

test("an adapter in each row of an encoder, its pooler's too, equals the rows one by one; other widths are refused", async () => {
  await using lease = await open("bert");
  const { family, config } = await lease.inside();
  const [weight, [out, width]] = [...family.weights(config)].find(([name]) => /pooler.*weight$/.test(name)) as [
    string,
    [number, number],
  ];
  const wave = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7) * 0.4);
  const adapter = { changes: [{ weight, rank: 2, scale: 1, a: wave(2 * width), b: wave(2 * out) }], config: {} };
  const together = await lease.trace({ ids: IDS, adapter: [adapter, undefined] });
  const rows = [adapter, undefined].map((own, r) => lease.trace({ ids: [IDS[r] as number[]], adapter: own }));
  for (const name of ["last_hidden_state", "pooler_output"]) {
    const alone = (await Promise.all(rows)).flatMap((row) => [...numbersOf(row, name)]);
    close(numbersOf(together, name), alone, name);
  }
  const half = { changes: [{ weight, rank: 2, scale: 1, a: wave(width), b: wave(2 * out) }], config: {} };
  await assert.rejects(lease.trace({ ids: IDS, adapter: [adapter, half] }), /row 1's change of .*got A \[2, \d+\]/);
});

test("infinity that a softmax swallows is found too, and what a run goes on from", async () => {
  await using lease = await open("gpt2");
  const at = "blocks.0.attn.hook_attn_scores";
  const interventions: InterventionSpec[] = [
    { at, do: "set", value: Number.NEGATIVE_INFINITY, rows: [0], heads: [1], positions: [3] },
  ];
  const found = await lease.findNotFinite({ ids: IDS, interventions });
  assert.deepEqual([found?.name, found?.index.slice(0, 3)], [at, [0, 1, 3]]);
  const hook = "blocks.1.hook_resid_pre";
  const captured = await lease.trace({ ids: IDS, capture: [hook], outputs: [] });
  const from = { [hook]: captured[hook] as Numbers };
  assert.equal(await lease.findNotFinite({ ids: IDS, from }), undefined);
});

test("what cannot be asked is refused with what would do", async () => {
  await using lease = await open("gpt2");
  const ids = IDS;
  await assert.rejects(lease.trace({ ids, only: [] }), /wanted positions: got none/);
  const attentionMask = ids.map(() => [0, 1, 1, 1, 1, 1, 1, 0]);
  await assert.rejects(lease.trace({ ids, attentionMask }), /01111110, wanted ones in one piece, zeros at one end/);
  await assert.rejects(lease.trace({ ids, only: [8] }), /a position of row 0: got 8, wanted -8 to 7/);
  await assert.rejects(
    lease.trace({ ids, capture: ["blocks.*.hook_zz"] }),
    /no HookPoint matches "blocks\.\*\.hook_zz".*nearest/,
  );
  const of = [{ position: -1, id: 5000, weight: 1 }];
  await assert.rejects(
    lease.trace({ ids, gradients: { of, at: ["hook_embed"] } }),
    /logits to differentiate: got 5000/,
  );
  const last = { of: [{ position: -1, id: 5, weight: 1 }], at: ["blocks.9.hook_zz"] };
  await assert.rejects(lease.trace({ ids, gradients: last }), /no HookPoint matches/);
  const llama = await randomAdapter(await open("llama"), ["q_proj"], 2, 1);
  await assert.rejects(
    lease.trace({ ids, adapter: llama }),
    /model\.layers\.0\.self_attn\.q_proj\.weight.*made for another model/,
  );
  await using encoder = await open("bert");
  await assert.rejects(encoder.trace({ ids, gradients: true }), /predicts no tokens: it has no loss/);
});

test("where NaN or infinity begins is found: a weight, or the HookPoint of a run", async () => {
  await using lease = await open("llama");
  assert.equal(await lease.findNotFinite({ ids: IDS }), undefined);
  const interventions: InterventionSpec[] = [
    { at: "blocks.1.attn.hook_z", do: "set", value: Number.POSITIVE_INFINITY, rows: [1], positions: [2], heads: [1] },
  ];
  assert.deepEqual(await lease.findNotFinite({ ids: IDS, interventions }), {
    ...{ kind: "HookPoint", name: "blocks.1.attn.hook_z", value: Number.POSITIVE_INFINITY },
    index: [1, 2, 1, 0],
  });
  // the same model with one number of one weight spoilt
  const source = fileURLToPath(new URL("goldens/families/llama", import.meta.url));
  const spoilt = join(home, "spoilt");
  await mkdir(spoilt);
  await copyFile(join(source, "config.json"), join(spoilt, "config.json"));
  await using checkpoint = await openCheckpoint(join(source, "model.safetensors"));
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array }> = {};
  for (const [name, { shape }] of checkpoint.tensors)
    tensors[name] = { shape, data: await checkpoint.readFloat32(name) };
  const name = "model.layers.1.mlp.up_proj.weight";
  const [, width] = (tensors[name] as { shape: readonly number[] }).shape as [number, number];
  (tensors[name] as { data: Float32Array }).data[3 * width + 2] = Number.NaN;
  await writeSafetensors(join(spoilt, "model.safetensors"), tensors);
  await using broken = await engine.lease(`file:${spoilt}`, { form: "f32", warm: false });
  const found = await broken.findNotFinite({ ids: IDS });
  assert.deepEqual(found, { kind: "weight", name, index: [3, 2], value: Number.NaN });
  await assert.rejects(answer(broken, IDS[0] as number[], {}), /not finite/);
});
