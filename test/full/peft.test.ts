// What Irori writes, peft loads: the same logits from the same files, by peft itself (installed by the bench, never by Irori).
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pythonOf } from "../../bench/python.ts";
import { seededRandom } from "../../src/base/mod.ts";
import { openCheckpoint } from "../../src/checkpoint/mod.ts";
import { Engine, type Lease } from "../../src/engine/mod.ts";
import { type LowRankValues, readAdapter, writeAdapter } from "../../src/hooks/mod.ts";
import { relativeError } from "../evaluate.ts";

const run = promisify(execFile);
const script = fileURLToPath(new URL("../../bench/peers/python/peft_logits.py", import.meta.url));
const IDS = [
  [5, 17, 3, 42, 42, 9, 1, 30],
  [2, 2, 90, 11, 7, 60, 33, 4],
];

let folder: string;
let engine: Engine;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-peft-"));
  const now = () => performance.now();
  engine = await Engine.open({ home: folder, threads: 2, spinning: false, now, budgetBytes: () => 2 ** 40 });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Written {
  readonly targets: readonly string[];
  readonly rank: (module: string) => number;
  readonly config: Readonly<Record<string, unknown>>;
}
const plain = { peft_type: "LORA", task_type: "CAUSAL_LM", bias: "none", lora_dropout: 0, r: 4, lora_alpha: 8 };
const llamaAll = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const cases: Readonly<Record<string, readonly [base: string, Written]>> = {
  "q and v of a llama": [
    "llama",
    { targets: ["q_proj", "v_proj"], rank: () => 4, config: { ...plain, target_modules: ["q_proj", "v_proj"] } },
  ],
  "all linear layers of a llama, rsLoRA": [
    "llama",
    { targets: llamaAll, rank: () => 4, config: { ...plain, target_modules: "all-linear", use_rslora: true } },
  ],
  "ranks and alphas by pattern": [
    "llama",
    {
      targets: llamaAll,
      rank: (module) => (/layers\.0\..*q_proj/.test(module) ? 2 : 4),
      config: {
        ...plain,
        target_modules: llamaAll,
        rank_pattern: { "layers.0.self_attn.q_proj": 2 },
        alpha_pattern: { down_proj: 3, "layers.1.mlp.up_proj": 20 },
      },
    },
  ],
  "c_attn and c_proj of a gpt2, stored [in, out]": [
    "gpt2",
    {
      targets: ["c_attn", "c_proj"],
      rank: () => 4,
      config: { ...plain, target_modules: ["c_attn", "c_proj"], fan_in_fan_out: true },
    },
  ],
};

/** An adapter of random numbers for every weight that is targeted. */
async function write(into: string, lease: Lease, { targets, rank, config }: Written): Promise<void> {
  const { family, config: sizes } = await lease.inside();
  const random = seededRandom(7);
  const some = (length: number) => Float32Array.from({ length }, () => (random.next() - 0.5) * 0.4);
  const changes: LowRankValues[] = [];
  for (const [weight, shape] of family.weights(sizes)) {
    if (!targets.some((target) => weight.endsWith(`.${target}.weight`))) continue;
    const [out, width] = family.isInOut ? [shape[1], shape[0]] : shape;
    const r = rank(weight.replace(/\.weight$/, ""));
    changes.push({ weight, rank: r, scale: 1, a: some(r * (width as number)), b: some((out as number) * r) });
  }
  await writeAdapter(into, { changes, config });
}

for (const base of ["llama", "gpt2"])
  test(`${base}: peft loads what Irori writes, with the same logits`, { timeout: 1_800_000 }, async () => {
    const python = await pythonOf("torch", (text) => console.log(text));
    const path = fileURLToPath(new URL(`../goldens/families/${base}`, import.meta.url));
    await using lease = await engine.lease(`file:${path}`, { form: "f32", warm: false });
    const own = Object.entries(cases).filter(([, [of]]) => of === base);
    const adapters = own.map((_, i) => join(folder, `${base}-${i}`));
    for (const [i, [, [, written]]] of own.entries()) await write(adapters[i] as string, lease, written);
    const out = join(folder, `${base}.safetensors`);
    await run(python, [script, path, out, JSON.stringify(IDS), ...adapters]);
    await using theirs = await openCheckpoint(out);
    const bare = await lease.trace({ ids: IDS });
    for (const [i, [name]] of own.entries()) {
      const adapter = await readAdapter(adapters[i] as string);
      const { logits } = await lease.trace({ ids: IDS, adapter });
      const wanted = await theirs.readFloat32(`logits.${i}`);
      assert.ok(relativeError(logits?.data as Float32Array, wanted) < 1e-4, name);
      assert.ok(relativeError(bare.logits?.data as Float32Array, wanted) > 1e-2, `${name}: the adapter does nothing`);
    }
  });
