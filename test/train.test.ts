// `irori train lora` end to end on a tiny model: the loss falls, a stop loses nothing, the same seed gives the same bytes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { writeTinyModel } from "./setup/tiny-model.ts";

const bin = fileURLToPath(new URL("../bin/irori.js", import.meta.url));
let folder: string;
let model: string;
let data: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-train-"));
  model = writeTinyModel(join(folder, "tiny"));
  data = join(folder, "data.jsonl");
  const lines = Array.from({ length: 40 }, (_, i) =>
    i % 2 ? { text: `the hat of ${i} is in the hut` } : { prompt: `who has ${i}?`, completion: " the hen has it" },
  );
  await writeFile(data, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
});
after(() => rm(folder, { recursive: true }));

function train(out: string, extra: readonly string[] = [], stopAt?: RegExp) {
  const args = ["train", "lora", model, "--data", data, "--out", join(folder, out), "--rate", "0.02", ...extra];
  const env = { ...process.env, IRORI_HOME: join(folder, "home") };
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [printed, errors, isStopped] = ["", "", false];
  child.stdout.on("data", (piece) => {
    printed += piece;
  });
  child.stderr.on("data", (piece) => {
    errors += piece;
    if (!isStopped && stopAt?.test(errors)) isStopped = child.kill("SIGINT");
  });
  return new Promise<{ code: number | null; printed: string; errors: string }>((resolve, reject) => {
    child.on("error", reject).on("close", (code) => resolve({ code, printed, errors }));
  });
}
const bytes = (out: string) => readFile(join(folder, out, "adapter_model.safetensors"));

test("the loss falls, also on examples that were held back", async () => {
  const { code, printed, errors } = await train("first", ["--json"]);
  assert.equal(code, 0, errors);
  const result = JSON.parse(printed);
  assert.equal(result.steps, 27);
  assert.ok(result.validationAfter < 0.8 * result.validationBefore, printed);
  const config = JSON.parse(await readFile(join(folder, "first", "adapter_config.json"), "utf8"));
  assert.deepEqual([config.peft_type, config.r, config.target_modules], ["LORA", 8, ["q_proj", "v_proj"]]);
});

test("the same seed gives the same bytes, another seed others", async () => {
  await train("again");
  await train("other", ["--seed", "5"]);
  assert.deepEqual(await bytes("again"), await bytes("first"));
  assert.notDeepEqual(await bytes("other"), await bytes("first"));
});

test("stopped by Ctrl-C and started again, it ends with the bytes of one that was never stopped", async () => {
  const stopped = await train("stopped", [], /step 10 of/);
  assert.equal(stopped.code, 130, stopped.errors);
  assert.match(stopped.errors, /training after step \d+/);
  const changed = await train("stopped", ["--rank", "4"]);
  assert.match(changed.errors, /a training that was stopped, with other settings/);
  const ended = await train("stopped");
  assert.equal(ended.code, 0, ended.errors);
  assert.match(ended.errors, /going on after step \d+/);
  assert.deepEqual(await bytes("stopped"), await bytes("first"));
});

test("what cannot be trained is one sentence", async () => {
  const bad = join(folder, "bad.jsonl");
  await writeFile(bad, '{"text":"fine"}\n{"txt":"not"}\n');
  assert.match((await train("bad", ["--data", bad])).errors, /bad\.jsonl: line 2/);
  assert.match((await train("bad", ["--targets", "q_prj"])).errors, /weights to adapt: got q_prj, wanted .*q_proj/);
});

test("an adapter that is there is not replaced without being told to", async () => {
  const { code, errors } = await train("first");
  assert.equal(code, 2);
  assert.match(errors, /holds an adapter; choose another folder, or --force/);
});
