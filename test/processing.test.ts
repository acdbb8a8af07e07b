// Processed weights: log-probabilities stay in every family that has parts, the inside equals TransformerLens' with the same
// processing (goldens/make/processed.py), and what cannot be processed is refused.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import { Engine, type Lease } from "../src/engine/mod.ts";
import type { Numbers } from "../src/hooks/mod.ts";
import { families, type Processing } from "../src/models/mod.ts";
import { relativeError } from "./evaluate.ts";

let home: string;
let engine: Engine;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-processing-"));
  const now = () => performance.now();
  engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 2 ** 40 });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});
const golden = (path: string): string => fileURLToPath(new URL(`goldens/${path}`, import.meta.url));
const open = (family: string): Promise<Lease> =>
  engine.lease(`file:${golden(`families/${family}`)}`, { form: "f32", warm: false });

const IDS = [
  [5, 17, 23, 42, 42, 9, 21, 30],
  [22, 22, 90, 11, 7, 60, 33, 14],
];
const WHOLE: Processing = { foldLn: true, centerWritingWeights: true, centerUnembed: true, foldValueBiases: true };

/** log softmax over the last axis. */
function logProbabilities({ shape, data }: Numbers): Float64Array {
  const width = shape.at(-1) as number;
  const out = new Float64Array(data.length);
  for (let at = 0; at < data.length; at += width) {
    const row = Array.from(data.slice(at, at + width), Number);
    const top = Math.max(...row);
    const spread = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
    row.forEach((x, i) => {
      out[at + i] = x - spread;
    });
  }
  return out;
}

for (const { name } of families.filter(({ parts }) => parts !== undefined))
  test(`${name}: each processing that its weights allow leaves log-probabilities as they are`, async () => {
    await using lease = await open(name);
    const { config, family } = await lease.inside();
    const { isCentring, values, isCapped = false } = family.parts?.(config) ?? {};
    const allowed: Processing = {
      foldLn: true,
      ...(isCentring && { centerWritingWeights: true }),
      ...(values && { foldValueBiases: true }),
      ...(!isCapped && { centerUnembed: true }),
    };
    const plain = await lease.trace({ ids: IDS, capture: ["blocks.1.hook_resid_pre"] });
    const each = Object.keys(allowed).map((one): Processing => ({ [one]: true }));
    for (const processing of [...each, allowed]) {
      const traced = await lease.trace({ ids: IDS, processing, capture: ["blocks.1.hook_resid_pre", "ln_final.*"] });
      const [got, wanted] = [traced.logits, plain.logits].map((logits) => logProbabilities(logits as Numbers));
      const apart = Math.max(...(got as Float64Array).map((x, i) => Math.abs(x - (wanted?.[i] as number))));
      assert.ok(apart < 1e-4, `${JSON.stringify(processing)}: ${apart}`);
    }
    const { logits } = await lease.trace({ ids: IDS, processing: allowed });
    assert.ok(relativeError(logits?.data as Float32Array, plain.logits?.data as Float32Array) > 1e-3 || isCapped);
  });

for (const name of ["gpt2", "gpt_neox", "llama"])
  test(`${name}: the inside of processed weights equals TransformerLens'`, async () => {
    await using lease = await open(name);
    await using file = await openCheckpoint(golden(`lab/${name}/processed.safetensors`));
    await using lab = await openCheckpoint(golden(`lab/${name}/transformer-lens.safetensors`));
    const [rows, length] = (lab.tensors.get("clean") as { shape: readonly number[] }).shape as [number, number];
    const clean = Array.from(await lab.readFloat32("clean"));
    const ids = Array.from({ length: rows }, (_, r) => clean.slice(r * length, (r + 1) * length));
    const capture = [...file.tensors.keys()].filter((hook) => hook !== "logits");
    const processing = name === "llama" ? { ...WHOLE, centerWritingWeights: false, foldValueBiases: false } : WHOLE;
    const traced = await lease.trace({ ids, capture, processing });
    const plain = await lease.trace({ ids, capture });
    for (const hook of file.tensors.keys()) {
      const wanted = await file.readFloat32(hook);
      const error = relativeError(traced[hook]?.data as Float32Array, wanted);
      assert.ok(error < 1e-4, `${hook}: ${error}`);
    }
    // scales of a norm alone move nothing but the logits' mean
    const differs = [...capture, "logits"].filter(
      (hook) => relativeError(plain[hook]?.data as Float32Array, traced[hook]?.data as Float32Array) > 1e-3,
    );
    assert.ok(differs.length > (name === "llama" ? 0 : 5), differs.join());
  });

test("what cannot be processed is refused with the reason", async () => {
  const trace = async (name: string, processing: Processing, more = {}) => {
    await using lease = await open(name);
    return await lease.trace({ ids: IDS, processing, ...more });
  };
  await assert.rejects(trace("llama", WHOLE), /the norms of a llama see the mean/);
  await assert.rejects(
    trace("gpt_neo", { foldLn: true }),
    /processing of the weights of a gpt_neo; take them as they are/,
  );
  await assert.rejects(
    trace("gpt2", WHOLE, { gradients: true }),
    /processed weights: got with gradients by parameters/,
  );
});
