// Interventions while an answer is made: over the KvCache they equal those recomputed whole, and no other answer sees them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Engine, type EngineEvent, GREEDY, type Lease } from "../src/engine/mod.ts";
import type { Adapter, InterventionSpec, Numbers } from "../src/hooks/mod.ts";
import { smollm2 } from "./setup/smollm2.ts";

let engine: Engine;
const events: EngineEvent[] = [];
before(async () => {
  const { home } = await smollm2();
  engine = await Engine.open({
    ...{ home, threads: 2, spinning: false, budgetBytes: () => 8e9, now: () => performance.now() },
    onEvent: (event) => events.push(event),
  });
});
after(() => engine[Symbol.asyncDispose]());

const TEXT = "The capital of France is";
const COUNT = 12;
async function answer(
  lease: Lease,
  interventions: readonly InterventionSpec[] = [],
  tensors: Readonly<Record<string, Numbers>> = {},
): Promise<readonly number[]> {
  const prompt = { ids: lease.tokenize(TEXT) };
  const request = { prompt, seed: 1, sampling: GREEDY, maxTokens: COUNT, ignoreEos: true, interventions, tensors };
  for await (const event of lease.generate(request)) if (event.type === "end") return event.ids;
  return [];
}
/** A direction that moves what is said. */
const vector = Array.from({ length: 576 }, (_, i) => Math.sin(i * i));
const steer = (strength: number): InterventionSpec => ({
  at: "blocks.12.hook_resid_post",
  do: "steer",
  vector,
  strength,
});
const zero: InterventionSpec = { at: "blocks.3.attn.hook_z", do: "zero", heads: [0, 4], positions: [1, -1] };
const sets: Readonly<Record<string, readonly InterventionSpec[]>> = {
  "steered everywhere": [steer(8)],
  "heads ablated at two positions": [zero],
  "both, and a component removed": [zero, steer(6), { at: "blocks.20.hook_mlp_out", do: "clamp", vector, target: 0 }],
};

for (const [name, interventions] of Object.entries(sets))
  test(`f32, ${name}: token by token over a KvCache equals recomputing the whole text`, async () => {
    await using lease = await engine.lease("smollm2-135m", { form: "f32" });
    const [whole] = await lease.traceGreedy({ ids: [lease.tokenize(TEXT)], interventions }, COUNT);
    assert.deepEqual(await answer(lease, interventions), whole);
  });

test("f32: a patch captured on another prompt stays at its place while tokens are made, and changes the capital", async () => {
  await using lease = await engine.lease("smollm2-135m", { form: "f32" });
  const at = "blocks.25.hook_resid_pre";
  const tensors = await lease.trace({ ids: [lease.tokenize("The capital of Italy is")], capture: [at], outputs: [] });
  const interventions: InterventionSpec[] = [{ at, do: "set", value: at, positions: [-1] }];
  const [whole = []] = await lease.traceGreedy({ ids: [lease.tokenize(TEXT)], interventions, tensors }, COUNT);
  assert.match(lease.detokenize(whole), /^ Rome/);
  assert.deepEqual(await answer(lease, interventions, tensors), whole);
});

test("the serving form: strength 0 is the plain answer, strength moves it, and a sweep compiles once", async () => {
  await using lease = await engine.lease("smollm2-135m");
  const plain = await answer(lease);
  assert.deepEqual(await answer(lease, [steer(0)]), plain);
  const compiled = events.filter(({ type }) => type === "compile").length;
  assert.notDeepEqual(await answer(lease, [steer(20)]), plain);
  assert.notDeepEqual(await answer(lease, [steer(-20)]), plain);
  assert.equal(events.filter(({ type }) => type === "compile").length, compiled);
});

test("an adapter over quantised weights moves the model as it does over float32 ones", async () => {
  const hook = "blocks.29.hook_resid_post";
  const prompt = { ids: [] as number[] };
  const inside: Record<string, Float32Array[]> = {};
  for (const form of ["f32", "blocks"] as const) {
    await using lease = await engine.lease("smollm2-135m", { form });
    prompt.ids = lease.tokenize(TEXT);
    for (const adapter of [undefined, await adapterFor(engine)]) {
      const request = { prompt, seed: 1, sampling: GREEDY, maxTokens: 1, capture: [hook], adapter };
      for await (const event of lease.generate(request))
        if (event.type === "captured")
          inside[form] = [...(inside[form] ?? []), Float32Array.from(event.tensors[hook]?.data as Float32Array)];
    }
  }
  const [plain, adapted] = inside.f32 as [Float32Array, Float32Array];
  const [quantised, both] = inside.blocks as [Float32Array, Float32Array];
  const apart = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((x, i) => x - (b[i] as number)));
  assert.ok(apart(plain, adapted) > 5 * apart(plain, quantised), "the adapter hardly does anything");
  assert.ok(apart(adapted, both) < 3 * apart(plain, quantised), `${apart(adapted, both)}, ${apart(plain, quantised)}`);
});

/** A change of q and v in every layer, and of the MLP's outputs in one. */
async function adapterFor(engine: Engine): Promise<Adapter> {
  await using lease = await engine.lease("smollm2-135m", { form: "f32", warm: false });
  const { family, config } = await lease.inside();
  const changes = [...family.weights(config)].flatMap(([weight, shape], seed) => {
    if (!/(q_proj|v_proj|layers\.7\.mlp\.down_proj)\.weight$/.test(weight)) return [];
    const [out, width] = shape as [number, number];
    const wave = (length: number, by: number) =>
      Float32Array.from({ length }, (_, i) => Math.sin(i * by + seed) * 0.25);
    return [{ weight, rank: 4, scale: 2, a: wave(4 * width, 1.7), b: wave(4 * out, 2.3) }];
  });
  return { changes, config: {} };
}

test("a steered answer and a plain one at once do not disturb each other", async () => {
  await using lease = await engine.lease("smollm2-135m");
  const [plain, steered] = [await answer(lease), await answer(lease, [steer(20)])];
  const both = await Promise.all([answer(lease, [steer(20)]), answer(lease), answer(lease, [steer(20)])]);
  assert.deepEqual(both, [steered, plain, steered]);
});

test("a HookPoint that is not there is a sentence, and the lease goes on", async () => {
  await using lease = await engine.lease("smollm2-135m");
  await assert.rejects(
    answer(lease, [{ at: "blocks.3.attn.hook_zz", do: "zero" }]),
    /nearest are blocks\.3\.attn\.hook_z/,
  );
  assert.equal((await answer(lease)).length, COUNT);
});
