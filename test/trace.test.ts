// `irori trace` end to end on the golden families: what transformers computes, from files to files.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint, writeSafetensors } from "../src/checkpoint/mod.ts";
import { families } from "../src/models/mod.ts";
import { relativeError } from "./evaluate.ts";

const bin = fileURLToPath(new URL("../bin/irori.js", import.meta.url));
const golden = (name: string): string => fileURLToPath(new URL(`goldens/families/${name}`, import.meta.url));
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-trace-"));
});
after(() => rm(folder, { recursive: true }));

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}
function irori(args: readonly string[]): Promise<Outcome> {
  const env = { ...process.env, IRORI_HOME: join(folder, "home") };
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [out, errors] = ["", ""];
  child.stdout.on("data", (piece) => {
    out += piece;
  });
  child.stderr.on("data", (piece) => {
    errors += piece;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code) => resolve({ code, out, errors }));
  });
}

async function read(path: string): Promise<ReadonlyMap<string, Float32Array>> {
  await using file = await openCheckpoint(path);
  const all = new Map<string, Float32Array>();
  for (const name of file.tensors.keys()) all.set(name, await file.readFloat32(name));
  return all;
}

/** input_ids and, where the golden has them, attention_mask and position_ids. */
async function inputOf(name: string): Promise<string> {
  const path = join(folder, `${name}.in.safetensors`);
  await using file = await openCheckpoint(join(golden(name), "expected.safetensors"));
  const tensors: Record<string, { shape: readonly number[]; data: BigInt64Array }> = {};
  for (const part of ["input_ids", "attention_mask", "position_ids"]) {
    const info = file.tensors.get(part);
    if (info === undefined) continue;
    const bytes = await file.read(part);
    tensors[part] = { shape: info.shape, data: new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8) };
  }
  await writeSafetensors(path, tensors);
  return path;
}

for (const { name, head } of families)
  test(`${name}: outputs, captures${head ? ", greedy, loss and gradients" : ""} from file to file`, async () => {
    const out = join(folder, `${name}.out.safetensors`);
    const args = ["trace", golden(name), "--input", await inputOf(name), "--out", out, "--json"];
    args.push("--capture", "blocks.*.hook_resid_pre,blocks.1.attn.hook_{pattern,z}");
    if (head) args.push("--grad", "loss", "--generate", "4");
    const { code, errors } = await irori(args);
    assert.equal(code, 0, errors);
    const [got, wanted] = [await read(out), await read(join(golden(name), "expected.safetensors"))];
    const mask = wanted.get("attention_mask") as Float32Array;
    const atReal = (data: Float32Array) =>
      data.filter((_, i) => mask[Math.floor(i / (data.length / mask.length))] === 1);
    const pairs = [
      ["blocks.0.hook_resid_pre", "hidden_states.0"],
      ["blocks.1.hook_resid_pre", "hidden_states.1"],
      head ? ["logits", "logits"] : ["last_hidden_state", "last_hidden_state"],
    ] as const;
    for (const [ours, theirs] of pairs) {
      const error = relativeError(atReal(got.get(ours) as Float32Array), atReal(wanted.get(theirs) as Float32Array));
      assert.ok(error < 1e-4, `${ours}: ${error}`);
    }
    const pooled = wanted.get("pooler_output");
    if (pooled) assert.ok(relativeError(got.get("pooler_output") as Float32Array, pooled) < 1e-4);
    if (!head) return;
    const greedy = [...(wanted.get("greedy") as Float32Array)];
    assert.deepEqual(
      [...(got.get("greedy") as Float32Array)],
      greedy.filter((_, i) => i % 12 < 4),
    );
    assert.ok(relativeError(got.get("loss") as Float32Array, wanted.get("loss") as Float32Array) < 1e-5);
    for (const [tensor, values] of wanted) {
      if (!tensor.startsWith("grad.")) continue;
      const ours = got.get(tensor) ?? got.get(tensor.replace("lm_head", "embed_out"));
      const error = relativeError(ours as Float32Array, values);
      assert.ok(error < 1e-3, `${tensor}: ${error}`);
    }
  });

test("an encoder saved without its pooler is read, and its token types count", async () => {
  const copy = join(folder, "roberta");
  await mkdir(copy);
  await copyFile(join(golden("roberta"), "config.json"), join(copy, "config.json"));
  await using file = await openCheckpoint(join(golden("roberta"), "model.safetensors"));
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array }> = {};
  for (const [name, { shape }] of file.tensors)
    if (!name.startsWith("pooler.")) tensors[`roberta.${name}`] = { shape, data: await file.readFloat32(name) };
  await writeSafetensors(join(copy, "model.safetensors"), tensors);
  const out = join(folder, "pooler.safetensors");
  const { code, errors } = await irori(["trace", copy, "--input", await inputOf("roberta"), "--out", out]);
  assert.equal(code, 0, errors);
  assert.deepEqual([...(await read(out)).keys()], ["last_hidden_state"]);

  const ids = { shape: [1, 4], data: BigInt64Array.of(5n, 6n, 7n, 8n) };
  const states: Float32Array[] = [];
  for (const types of [BigInt64Array.of(0n, 0n, 0n, 0n), BigInt64Array.of(0n, 0n, 1n, 1n)]) {
    const pair = join(folder, "pair.safetensors");
    await writeSafetensors(pair, { input_ids: ids, token_type_ids: { shape: [1, 4], data: types } });
    assert.equal((await irori(["trace", golden("bert"), "--input", pair, "--out", out])).code, 0);
    states.push((await read(out)).get("last_hidden_state") as Float32Array);
  }
  assert.notDeepEqual(states[0], states[1]);
  const refusal = await irori(["trace", golden("llama"), "--input", join(folder, "pair.safetensors"), "--out", out]);
  assert.match(refusal.errors, /a llama has no kinds of text/);
});

test("interventions from a JSON file give TransformerLens' logits", async () => {
  const lab = fileURLToPath(new URL("goldens/lab/llama/transformer-lens.safetensors", import.meta.url));
  const expected = await read(lab);
  await using file = await openCheckpoint(lab);
  const ids = (which: string) => {
    const values = expected.get(which) as Float32Array;
    return {
      shape: file.tensors.get(which)?.shape as readonly number[],
      data: BigInt64Array.from(values, (id) => BigInt(id)),
    };
  };
  const [clean, other] = [join(folder, "clean.safetensors"), join(folder, "other.safetensors")];
  await writeSafetensors(other, { input_ids: ids("other") });
  const z = "blocks.1.attn.hook_z";
  const captured = join(folder, "captured.safetensors");
  const hooks = `${z},blocks.0.attn.hook_z,blocks.1.hook_resid_pre`;
  const first = await irori(["trace", golden("llama"), "--input", other, "--out", captured, "--capture", hooks]);
  assert.equal(first.code, 0, first.errors);
  const values = await read(captured);
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array | BigInt64Array }> = {
    input_ids: ids("clean"),
  };
  await using shapes = await openCheckpoint(captured);
  for (const [name, data] of values)
    tensors[name] = { shape: shapes.tensors.get(name)?.shape as readonly number[], data };
  tensors.direction = { shape: [32], data: expected.get("direction") as Float32Array };
  await writeSafetensors(clean, tensors);
  const specs = {
    patch_z_L1H1_all: [{ at: z, do: "set", value: z, heads: [1] }],
    patch_z_L1H1_last: [{ at: z, do: "set", value: z, heads: [1], positions: [-1] }],
    zero_z_L0H2: [{ at: "blocks.0.attn.hook_z", do: "zero", heads: [2] }],
    mean_z_L0H0_over_other: [{ at: "blocks.0.attn.hook_z", do: "mean", of: "blocks.0.attn.hook_z", heads: [0] }],
    "steer_resid_post_L0_x2.5": [{ at: "blocks.0.hook_resid_post", do: "steer", vector: "direction", strength: 2.5 }],
    patch_resid_pre_L1_pos3: [
      { at: "blocks.1.hook_resid_pre", do: "set", value: "blocks.1.hook_resid_pre", positions: [3] },
    ],
    zero_mlp_L0: [{ at: "blocks.0.hook_mlp_out", do: "set", value: 0 }],
  };
  for (const [label, list] of Object.entries(specs)) {
    const [spec, out] = [join(folder, `${label}.json`), join(folder, `${label}.safetensors`)];
    await writeFile(spec, JSON.stringify(list));
    const { code, errors } = await irori([
      "trace",
      golden("llama"),
      "--input",
      clean,
      "--out",
      out,
      "--interventions",
      spec,
    ]);
    assert.equal(code, 0, errors);
    const error = relativeError((await read(out)).get("logits") as Float32Array, expected.get(label) as Float32Array);
    assert.ok(error < 1e-4, `${label}: ${error}`);
  }
});

test("the first token made is the likeliest of the run with the same interventions, in each row of a padded batch", async () => {
  const [captured, input, out, spec] = ["captured2", "in2", "out2", "spec2"].map((name) =>
    join(folder, name),
  ) as string[];
  const hook = "blocks.1.attn.hook_z";
  const from = await inputOf("llama");
  const first = await irori([
    "trace",
    golden("llama"),
    "--input",
    from,
    "--out",
    captured as string,
    "--capture",
    hook,
  ]);
  assert.equal(first.code, 0, first.errors);
  await using values = await openCheckpoint(captured as string);
  await using start = await openCheckpoint(from);
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array | BigInt64Array }> = {};
  for (const [name, { shape }] of start.tensors)
    tensors[name] = { shape, data: BigInt64Array.from(await start.readFloat32(name), BigInt) };
  tensors.z = { shape: values.tensors.get(hook)?.shape as readonly number[], data: await values.readFloat32(hook) };
  await writeSafetensors(input as string, tensors);
  const mask = tensors.attention_mask?.data as BigInt64Array;
  for (const list of [
    [{ at: hook, do: "mean", of: "z" }],
    [{ at: "blocks.0.attn.hook_z", do: "set", value: "z", heads: [1, 2] }],
  ]) {
    await writeFile(spec as string, JSON.stringify(list));
    const args = ["--input", input, "--out", out, "--interventions", spec, "--generate", "1"] as string[];
    const { code, errors } = await irori(["trace", golden("llama"), ...args]);
    assert.equal(code, 0, errors);
    const got = await read(out as string);
    const logits = got.get("logits") as Float32Array;
    for (let row = 0; row < 3; row++) {
      const end = (row * 13 + mask.slice(row * 13, (row + 1) * 13).lastIndexOf(1n) + 1) * 160;
      const last = logits.slice(end - 160, end);
      assert.equal(got.get("greedy")?.[row], last.indexOf(Math.max(...last)), `${list[0]?.do}, row ${row}`);
    }
  }
});

const refused: Readonly<Record<string, { args?: string[]; spec?: unknown; says: RegExp }>> = {
  "a pattern that matches nothing": {
    args: ["--capture", "blocks.0.hook_residpre"],
    says: /nearest are blocks\.0\.hook_resid_pre/,
  },
  "a HookPoint of another name": { spec: [{ at: "blocks.9.hook_mlp_out", do: "zero" }], says: /no HookPoint matches/ },
  "a patch of the wrong shape": {
    spec: [{ at: "blocks.0.hook_mlp_out", do: "set", value: "input_ids" }],
    says: /values to set: got \[3,13\], wanted \[3,13,32\]/,
  },
  "a head there is none of": {
    spec: [{ at: "blocks.0.attn.hook_z", do: "zero", heads: [4] }],
    says: /heads: got 4, wanted 0 to 3/,
  },
  "an unknown deed": { spec: [{ at: "blocks.0.attn.hook_z", do: "nudge" }], says: /interventions: 0\.do/ },
  "a gradient of something else": { args: ["--grad", "accuracy"], says: /--grad: got accuracy, wanted loss/ },
};
for (const [what, { args = [], spec, says }] of Object.entries(refused))
  test(`${what} is one sentence`, async () => {
    const all = ["trace", golden("llama"), "--input", await inputOf("llama"), "--out", join(folder, "never"), ...args];
    if (spec !== undefined) {
      await writeFile(join(folder, "spec.json"), JSON.stringify(spec));
      all.push("--interventions", join(folder, "spec.json"));
    }
    const { code, errors } = await irori(all);
    assert.notEqual(code, 0);
    assert.match(errors, says);
  });

test("only wanted positions, gradients by HookPoints, and where infinity begins, from file to file", async () => {
  const input = await inputOf("mistral");
  const out = join(folder, "some.safetensors");
  const args = ["trace", golden("mistral"), "--input", input, "--out", out, "--json"];
  const whole = await irori([...args, "--capture", "blocks.1.hook_mlp_out"]);
  assert.equal(whole.code, 0, whole.errors);
  const all = await read(out);
  const some = await irori([
    ...args,
    "--capture",
    "blocks.1.hook_mlp_out",
    "--only=-1",
    "--grad",
    "loss",
    "--at",
    "hook_embed",
  ]);
  assert.equal(some.code, 0, some.errors);
  const { tensors } = JSON.parse(some.out) as { tensors: Record<string, number[]> };
  assert.deepEqual(Object.keys(tensors).sort(), ["blocks.1.hook_mlp_out", "grad.hook_embed", "logits", "loss"]);
  assert.equal(tensors.logits?.[1], 1);
  const width = tensors["blocks.1.hook_mlp_out"]?.[2] as number;
  const got = (await read(out)).get("blocks.1.hook_mlp_out") as Float32Array;
  const values = all.get("blocks.1.hook_mlp_out") as Float32Array;
  const mask = (await read(input)).get("attention_mask") as Float32Array;
  const rows = got.length / width;
  const length = mask.length / rows;
  for (let r = 0; r < rows; r++) {
    const end = Array.from(mask.slice(r * length, (r + 1) * length)).lastIndexOf(1);
    const last = values.slice((r * length + end) * width, (r * length + end + 1) * width);
    assert.ok(relativeError(got.slice(r * width, (r + 1) * width), last) < 1e-5, `row ${r}`);
  }

  const fine = await irori(["trace", golden("mistral"), "--input", input, "--finite"]);
  assert.deepEqual([fine.code, fine.out], [0, "every weight and every value is finite\n"]);
  const spec = join(folder, "infinite.json");
  await writeFile(spec, '[{"at":"blocks.1.mlp.hook_post","do":"set","value":1e39,"positions":[-1]}]');
  const found = await irori(["trace", golden("mistral"), "--input", input, "--interventions", spec, "--finite"]);
  assert.equal(found.code, 1);
  assert.match(found.out, /^HookPoint blocks\.1\.mlp\.hook_post holds Infinity at \[0,\d+,0\], the first/);
  const refused = await irori([...args, "--at", "hook_embed"]);
  assert.match(refused.out, /--at: wanted --grad loss with it/);
});
