// `node bench/prepare.ts [--home FOLDER] [--large]`: how long preparing takes, what it writes, and the most private memory that it
// has at any time, for checkpoints of several sizes; `--large` makes one of 2.2 GB and 262,144 tokens first. Linux only.
// It does not know how models are prepared. Beside it: what an import that copies and hashes the file would read and write.
import { fork } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { seededRandom } from "../src/base/mod.ts";
import { homeFolder } from "../src/machine.ts";
import { familyOf } from "../src/models/mod.ts";
import { machine } from "./machine.ts";

const SAMPLE_MS = 5;
const SIDE = fileURLToPath(new URL("sides/prepare.ts", import.meta.url));

interface Spent {
  readonly prepareMs: number;
  readonly preparedBytes: number;
  readonly packMs: number;
  readonly packedBytes: number;
  readonly checkpointBytes: number;
}

/** Bytes of a process that no file backs; 0 once it has gone. */
function privateBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return (
      1024 *
      ["RssAnon", "RssShmem"].reduce(
        (sum, name) => sum + Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0),
        0,
      )
    );
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return 0;
    throw error;
  }
}

/** Prepares once in a store of its own that has the model's bytes by link. */
async function measure(home: string, model: string, form: string) {
  const own = mkdtempSync(join(tmpdir(), "irori-bench-prepare-"));
  try {
    for (const folder of ["blobs", "models", "terms"])
      if (existsSync(join(home, folder))) symlinkSync(join(home, folder), join(own, folder));
    const child = fork(SIDE, [own, model, form], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    let spent: Spent | undefined;
    let phase: "prepare" | "pack" = "prepare";
    const most = { prepare: 0, pack: 0 };
    const timer = setInterval(() => {
      most[phase] = Math.max(most[phase], privateBytes(child.pid as number));
    }, SAMPLE_MS);
    child.on("message", (message) => {
      if (message === "packs") phase = "pack";
      else spent = message as Spent;
    });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    clearInterval(timer);
    if (spent === undefined) throw new Error(`${model} as ${form} ended with ${code}`);
    return { model, form, ...spent, prepareBytes: most.prepare, packBytes: most.pack };
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** Llama's shape with the largest vocabulary there is. */
const CONFIG = {
  ...{ model_type: "llama", vocab_size: 262_144, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 12 },
  tie_word_embeddings: true,
  ...{ num_attention_heads: 32, num_key_value_heads: 4, max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
  hidden_act: "silu",
};

/** Every pair of 511 characters is a token and a merge. */
function largeVocabulary(): string {
  const characters = Array.from({ length: 511 }, (_, i) => String.fromCharCode(0x4e00 + i));
  const pairs = characters.flatMap((a) => characters.map((b) => [a, b] as const)).slice(0, CONFIG.vocab_size - 511);
  const vocab = Object.fromEntries(
    [...characters, ...pairs.map((pair) => pair.join(""))].map((entry, id) => [entry, id]),
  );
  return JSON.stringify({ model: { type: "BPE", vocab, merges: pairs } }, null, 2);
}

/** 1.1 billion weights in float16, 2.2 GB; one block of random numbers again and again. */
async function largeModel(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const family = familyOf("llama");
  const header: Record<string, unknown> = {};
  let bytes = 0;
  for (const [name, shape] of family.weights(family.parseConfig(CONFIG))) {
    const end = bytes + 2 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "F16", shape, data_offsets: [bytes, end] };
    bytes = end;
  }
  const random = seededRandom(1);
  const block = Buffer.from(Float16Array.from({ length: 2 ** 21 }, () => (random.next() - 0.5) / 16).buffer);
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await using file = await open(join(folder, "model.safetensors"), "w");
  await file.write(Buffer.concat([length, text]));
  for (let done = 0; done < bytes; done += block.length)
    await file.write(block.subarray(0, Math.min(block.length, bytes - done)));
  writeFileSync(join(folder, "config.json"), JSON.stringify(CONFIG));
  writeFileSync(join(folder, "tokenizer.json"), largeVocabulary());
  return `file:${folder}`;
}

const { values } = parseArgs({
  options: { home: { type: "string" }, large: { type: "boolean" }, json: { type: "boolean" } },
});
const home = resolve(values.home ?? homeFolder());
const work: (readonly [model: string, form: string])[] = [
  ["smollm2-135m", "blocks"],
  ["smollm2-135m", "f32"],
  ["gemma3-270m", "blocks"],
  ["gemma3-270m", "f32"],
];
const made = mkdtempSync(join(tmpdir(), "irori-bench-large-"));
try {
  if (values.large) {
    const model = await largeModel(made);
    work.push([model, "q8"], [model, "q4"]);
  }
  const results = [];
  for (const [model, form] of work) results.push(await measure(home, model, form));
  if (values.json) console.log(JSON.stringify({ machine: machine(), results }, null, 2));
  else console.log(table(results));
} finally {
  rmSync(made, { recursive: true });
}

function table(results: readonly Awaited<ReturnType<typeof measure>>[]): string {
  const mb = (bytes: number) => (bytes / 1e6).toFixed(0);
  const s = (ms: number) => (ms / 1000).toFixed(1);
  const rows = results.map((each) =>
    [
      each.model.startsWith("file:") ? "1.1 billion weights, 262,144 tokens, float16" : each.model,
      ...[mb(each.checkpointBytes), each.form, s(each.prepareMs), mb(each.preparedBytes), mb(each.prepareBytes)],
      ...[s(each.packMs), mb(each.packedBytes), mb(each.packBytes), mb(each.checkpointBytes)],
    ].join(" | "),
  );
  const head = [
    ...["model", "checkpoint MB", "form", "prepare s", "written MB", "private MB at most"],
    ...["pack s", "written MB", "private MB at most", "an import that copies: written MB"],
  ];
  return [head.join(" | "), head.map(() => "---").join(" | "), ...rows].map((row) => `| ${row} |`).join("\n");
}
