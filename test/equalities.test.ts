// What must hold of every family, whatever is asked of it: padding and company change nothing, cached equals recomputed also under
// interventions, opened again equals first opened.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Engine, GREEDY, type Lease, type Traced } from "../src/engine/mod.ts";
import type { InterventionSpec, Numbers } from "../src/hooks/mod.ts";
import { families } from "../src/models/mod.ts";
import { relativeError } from "./evaluate.ts";

let home: string;
let engine: Engine;
const openEngine = (): Promise<Engine> =>
  Engine.open({ home, threads: 2, spinning: false, now: () => performance.now(), budgetBytes: () => 2 ** 40 });
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-equal-"));
  engine = await openEngine();
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});
const open = (family: string, of = engine): Promise<Lease> => {
  const path = fileURLToPath(new URL(`goldens/families/${family}`, import.meta.url));
  return of.lease(`file:${path}`, { form: "f32", warm: false });
};

const TEXTS = [
  [5, 17, 23, 42, 42, 9, 21, 30],
  [22, 22, 90, 11, 7],
  [60, 33, 14, 8, 19, 77, 41],
];
const LENGTH = 8;
const HOOKS = ["blocks.1.hook_resid_post", "blocks.1.attn.hook_z", "blocks.0.hook_mlp_out"];

/** Rows padded at one end. */
function padded(texts: readonly (readonly number[])[], side: "left" | "right") {
  const fill = (text: readonly number[], own: readonly number[]): number[] => {
    const rest = new Array<number>(LENGTH - text.length).fill(0);
    return side === "left" ? [...rest, ...own] : [...own, ...rest];
  };
  return {
    ids: texts.map((text) => fill(text, text)),
    attentionMask: texts.map((text) =>
      fill(
        text,
        text.map(() => 1),
      ),
    ),
  };
}

/** A row's values at its real positions. */
function realRow(traced: Traced, name: string, row: number, from: number, length: number): Float32Array {
  const { shape, data } = traced[name] as Numbers;
  const width = shape.slice(2).reduce((a, b) => a * b, 1);
  const start = row * (shape[1] as number) + from;
  return (data as Float32Array).slice(start * width, (start + length) * width);
}
const close = (got: Float32Array, wanted: Float32Array, what: string): void => {
  const error = relativeError(got, wanted);
  assert.ok(error < 1e-5, `${what}: ${error}`);
};

for (const { name, head } of families) {
  const names = [head ? "logits" : "last_hidden_state", ...HOOKS];
  test(`${name}: left, right and no padding, alone and in company of any order, agree at real positions`, async () => {
    await using lease = await open(name);
    const alone = await Promise.all(TEXTS.map((text) => lease.trace({ ids: [text], capture: HOOKS })));
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
    ])
      for (const side of ["left", "right"] as const) {
        const batch = await lease.trace({
          ...padded(
            order.map((i) => TEXTS[i] as number[]),
            side,
          ),
          capture: HOOKS,
        });
        for (const [row, i] of order.entries()) {
          const { length } = TEXTS[i] as number[];
          const from = side === "left" ? LENGTH - length : 0;
          for (const each of names)
            close(
              realRow(batch, each, row, from, length),
              realRow(alone[i] as Traced, each, 0, 0, length),
              `${each}, ${side}, text ${i}`,
            );
        }
      }
  });

  test(`${name}: opened again, the same bits`, async () => {
    await using lease = await open(name);
    const first = await lease.trace({ ids: [TEXTS[0] as number[]], capture: ["*"] });
    await using other = await openEngine();
    await using again = await open(name, other);
    const second = await again.trace({ ids: [TEXTS[0] as number[]], capture: ["*"] });
    for (const [each, { data }] of Object.entries(first)) assert.deepEqual(second[each]?.data, data, each);
  });
}

const COUNT = 6;
for (const { name } of families.filter((family) => family.head !== undefined)) {
  test(`${name}: the loss and its gradients are the same padded left, right and one by one`, async () => {
    await using lease = await open(name);
    const request = (side: "left" | "right") => ({ ...padded(TEXTS, side), outputs: [], gradients: true as const });
    const [left, right] = [await lease.trace(request("left")), await lease.trace(request("right"))];
    for (const each of Object.keys(left))
      close(left[each]?.data as Float32Array, right[each]?.data as Float32Array, each);
    const alone = await Promise.all(TEXTS.map((text) => lease.trace({ ids: [text], outputs: [], gradients: true })));
    const counts = TEXTS.map((text) => text.length - 1);
    const total = counts.reduce((a, b) => a + b);
    const mean = alone.reduce((sum, one, i) => sum + (Number(one.loss?.data[0]) * (counts[i] as number)) / total, 0);
    close(left.loss?.data as Float32Array, Float32Array.of(mean), "mean of the rows' losses");
  });

  test(`${name}: cached decode equals full recompute, also under interventions`, async () => {
    await using lease = await open(name);
    const { hiddenSize } = lease.manifest.config;
    const vector = Array.from({ length: hiddenSize }, (_, i) => Math.sin(i * i));
    const sets: readonly InterventionSpec[][] = [
      [],
      [{ at: "blocks.0.attn.hook_z", do: "zero", heads: [1] }],
      [{ at: "blocks.1.hook_resid_pre", do: "steer", vector, strength: 0.7 }],
      [
        { at: "blocks.1.attn.hook_pattern", do: "zero", heads: [0], positions: [2] },
        { at: "blocks.0.hook_mlp_out", do: "clamp", vector, target: 0 },
        { at: "ln_final.hook_scale", do: "set", value: 2, positions: [-1] },
      ],
      [{ at: "blocks.1.attn.hook_attn_scores", do: "zero" }],
      [{ at: "blocks.1.attn.hook_pattern", do: "set", value: 0.3, heads: [1] }],
    ];
    const prompt = TEXTS[2] as number[];
    for (const interventions of sets) {
      const [whole] = await lease.traceGreedy({ ids: [prompt], interventions }, COUNT);
      const request = {
        prompt: { ids: prompt },
        seed: 1,
        sampling: GREEDY,
        maxTokens: 40, // more room than is used: what a cache has beyond its tokens is never seen
        ignoreEos: true,
        interventions,
      };
      const capture = ["blocks.1.hook_resid_post"];
      const [steps, made]: [number[], number[]] = [[], []];
      for await (const event of lease.generate({ ...request, capture })) {
        if (event.type === "captured")
          steps.push(...((event.tensors[capture[0] as string] as Numbers).data as Float32Array));
        if (event.type === "token") made.push(event.id);
        if (made.length === COUNT) break;
      }
      assert.deepEqual(made, whole, JSON.stringify(interventions));
      // positions count in the prompt: those made behind it are not theirs
      if (interventions.some(({ positions }) => positions !== undefined)) continue;
      const text = [...prompt, ...(whole as number[]).slice(0, -1)];
      const all = await lease.trace({ ids: [text], interventions, capture, outputs: [] });
      close(Float32Array.from(steps), all[capture[0] as string]?.data as Float32Array, JSON.stringify(interventions));
    }
  });
}
