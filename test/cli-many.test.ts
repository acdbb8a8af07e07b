// The commands for many texts end to end on a tiny model: vectors, batches that are gone on with, scores of continuations.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type CommandAt, commandAt } from "./setup/command.ts";
import { writeTinyModel } from "./setup/tiny-model.ts";

let folder: string;
let model: string;
let command: CommandAt;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-cli-many-"));
  command = commandAt(join(folder, "home"));
  model = `file:${writeTinyModel(join(folder, "tiny"))}`;
});
after(() => rmSync(folder, { recursive: true, force: true }));

const fileOf = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("embed has the fixed form, from arguments, lines and JSON lines alike", () => {
  const given = command.json(["embed", model, "the hat", "a hen"]);
  assert.deepEqual(Object.keys(given), ["embeddings", "truncated", "empty", "tokens"]);
  const plain = command.json(["embed", model, "--input", fileOf("texts.txt", "the hat\na hen\n")]);
  assert.deepEqual(plain.embeddings, given.embeddings);
  const lines = '{"text":"the hat","id":"first"}\n{"text":"a hen"}\n';
  const named = command.json(["embed", model, "--input", "-"], { input: lines });
  assert.deepEqual(named.ids, ["first", null]);
  assert.deepEqual(named.embeddings, given.embeddings);
  for (const vector of given.embeddings) {
    assert.equal(vector.length, 32);
    assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
  }
  const printed = command.irori(["embed", model, "the hat", "a hen"]).stdout.trimEnd().split("\n");
  assert.deepEqual(
    printed.map((line) => JSON.parse(line)),
    given.embeddings,
  );
});

test("embed tells of texts that were cut and of empty ones; options and bad lines are checked", () => {
  const { stderr, status } = command.irori(["embed", model, "a long text of many letters", " ", "--max-tokens", "5"]);
  assert.equal(status, 0);
  assert.match(stderr, /text 1: longer than the model reads/);
  assert.match(stderr, /text 2: empty, so the vectors mean nothing/);
  const { truncated, empty } = command.json(["embed", model, "a long text of many letters", " ", "--max-tokens", "5"]);
  assert.deepEqual([truncated, empty], [[0], [1]]);
  assert.deepEqual(
    command.json(["embed", model, "a long text", "--max-tokens", "5", "--long", "windows"]).truncated,
    [],
  );
  assert.equal(command.json(["embed", model, "hat", "--dimensions", "8"]).embeddings[0].length, 8);
  const refused = (args: readonly string[], input = "") => command.irori(["embed", model, ...args], { input }).stderr;
  assert.match(refused([]), /TEXT is missing/);
  assert.match(refused(["a", "--pooling", "middle"]), /--pooling: got "middle", wanted mean or cls or last or max/);
  assert.match(refused(["--input", "-"], '{"txt":"a"}'), /line 1: got .*text/);
  assert.match(refused(["--input", join(folder, "nowhere")]), /cannot be read/);
});

const PROMPTS = Array.from({ length: 40 }, (_, i) =>
  i % 3 === 0
    ? `the hat ${i}`
    : JSON.stringify({ prompt: `a hen ${i}`, id: `p${i}`, maxTokens: 4 + i, temperature: 1 }),
);

test("batch answers every line in order, whatever runs at once, and each is what run answers", () => {
  const input = fileOf("prompts.jsonl", `${PROMPTS.join("\n")}\n`);
  const [out, one] = [join(folder, "many.jsonl"), join(folder, "one.jsonl")];
  const told = command.json(["batch", model, "--input", input, "--out", out, "--max-tokens", "9"]);
  assert.deepEqual([told.answers, told.of, told.failed], [40, 40, 0]);
  command.json(["batch", model, "--input", input, "--out", one, "--max-tokens", "9", "--concurrency", "1"]);
  assert.deepEqual(linesOf(out), linesOf(one));
  const answers = linesOf(out);
  assert.deepEqual(
    answers.map(({ line }) => line),
    PROMPTS.map((_, i) => i + 1),
  );
  assert.equal(answers[4].id, "p4");
  const single = command.json(["run", model, "a hen 4", "--seed", "4", "--max-tokens", "8", "--temperature", "1"]);
  assert.deepEqual([answers[4].ids, answers[4].text, answers[4].seed], [single.ids, single.text, 4]);
});

test("batch goes on after a kill, and to the same file as without", async () => {
  const input = fileOf("killed.jsonl", `${PROMPTS.join("\n")}\n`);
  const [whole, out] = [join(folder, "whole.jsonl"), join(folder, "killed-out.jsonl")];
  const args = (to: string) => ["batch", model, "--input", input, "--out", to, "--seed", "5", "--max-tokens", "200"];
  command.json(args(whole));
  const child = command.start(args(out));
  const written = () => {
    try {
      return readFileSync(out, "utf8").split("\n").length - 1;
    } catch {
      return 0;
    }
  };
  while (written() < 3 && child.exitCode === null) await setTimeout(5);
  child.kill("SIGKILL");
  await once(child, "close");
  const before = readFileSync(out, "utf8");
  writeFileSync(out, before.slice(0, -3)); // as a write that was cut off leaves it
  const { stderr, status } = command.irori(args(out));
  assert.equal(status, 0, stderr);
  assert.match(stderr, /\d+ of 40 answers are in .* already/);
  assert.equal(readFileSync(out, "utf8"), readFileSync(whole, "utf8"));
  const other = command.irori([...args(out), "--temperature", "0"]);
  assert.match(other.stderr, /line 1: got an answer to another prompt or with other settings; name another file/);
  assert.equal(readFileSync(out, "utf8"), readFileSync(whole, "utf8"));
});

test("batch reports each bad line with its number and goes on", () => {
  const lines = [
    "good",
    '{"promt":"x"}',
    '{"prompt":"a","messages":[]}',
    '{"prompt":',
    '{"prompt":"b","topP":7}',
    "end",
  ];
  const input = fileOf("bad.jsonl", lines.join("\n"));
  const out = join(folder, "bad-out.jsonl");
  const { status, stderr } = command.irori(["batch", model, "--input", input, "--out", out, "--max-tokens", "3"]);
  assert.equal(status, 2);
  assert.match(stderr, /6 of 6 answers, 4 of them errors/);
  const told = linesOf(out);
  assert.deepEqual(
    told.map(({ error }) => error?.code ?? "answer"),
    ["answer", "bad-input", "bad-input", "bad-input", "bad-input", "answer"],
  );
  assert.match(told[1].error.message, /line 2: got the key "promt" \(did you mean prompt\?\)/);
  assert.match(told[2].error.message, /line 3: got prompt and messages: none or both/);
  assert.match(told[4].error.message, /line 5: got topP/);
  const again = command.irori(["batch", model, "--input", input, "--out", out, "--max-tokens", "3"]);
  assert.equal(again.status, 2);
  assert.match(again.stderr, /6 of 6 answers are in/);
});

test("score --prompt tells how likely each continuation is", () => {
  const args = ["score", model, "--prompt", "the h", "--continuation", "at", "--continuation", "en"];
  const { continuations } = command.json(args);
  assert.deepEqual(
    continuations.map(({ text }: { text: string }) => text),
    ["at", "en"],
  );
  for (const { logprobs, logprob } of continuations)
    assert.ok(Math.abs(logprob - logprobs.reduce((a: number, b: number) => a + b)) < 1e-9);
  assert.match(command.irori(args).stdout, /ln p +a token +continuation/);
  assert.match(command.irori(["score", model, "--prompt", "x"]).stderr, /no --continuation/);
});

test("run tells log-probabilities where they are asked for, and takes biases", () => {
  const args = ["run", model, "the hat", "--raw", "--temperature", "0", "--max-tokens", "4"];
  const { ids, logprobs } = command.json([...args, "--logprobs", "3"]);
  assert.deepEqual(
    logprobs.map(({ id }: { id: number }) => id),
    ids,
  );
  assert.ok(
    logprobs.every(
      ({ top, logprob }: { top: { logprob: number }[]; logprob: number }) =>
        top.length === 3 && top[0]?.logprob === logprob,
    ),
  );
  const banned = command.json([...args, "--logit-bias", `${ids[0]}=-inf`]);
  assert.notEqual(banned.ids[0], ids[0]);
  assert.match(command.irori([...args, "--logit-bias", "x=1"]).stderr, /--logit-bias: got "x=1", wanted a token id/);
  assert.deepEqual(command.json([...args, "--speculate", "--kv", "f32"]).ids, ids);
});

test("what stands in for a model answers and embeds without one; what it cannot do is a sentence", () => {
  assert.equal(command.irori(["run", "mock", "hello"]).stdout, "This is a mock answer: no model was asked.\n");
  const echo = command.json(["run", "mock:echo", "one two three", "--max-tokens", "2", "--seed", "4"]);
  assert.deepEqual([echo.text, echo.tokens, echo.stop, echo.seed], ["one two", 2, "length", 4]);
  assert.equal(command.json(["embed", "hashed", "a hat"]).embeddings[0].length, 384);
  const out = join(folder, "echo.jsonl");
  command.json(["batch", "mock:echo", "--input", "-", "--out", out], { input: "a\nb c\n" });
  assert.deepEqual(
    linesOf(out).map(({ text }) => text),
    ["a", "b c"],
  );
  const providers = JSON.stringify({ wise: { answers: ["It is so."] } });
  const named = command.irori(["run", "wise", "is it?", "--set", `providers=${providers}`]);
  assert.equal(named.stdout, "It is so.\n");
  assert.match(command.irori(["run", "mock", "a", "--logprobs", "2"]).stderr, /mock cannot do logprobs/);
  assert.match(command.irori(["embed", "hashed", "a", "--pooling", "mean"]).stderr, /the option pooling: got hashed/);
  assert.match(command.irori(["run", "hashed", "a"]).stderr, /who answers: got hashed/);
  const down = command.irori(["run", "http://127.0.0.1:1/v1#m", "a"]);
  assert.match(down.stderr, /server http:\/\/127\.0\.0\.1:1\/v1#m: it could not be reached/);
  assert.equal(down.status, 7);
});

test("a batch loads its model once", () => {
  const args = ["batch", model, "--input", "-", "--out", join(folder, "once.jsonl"), "--max-tokens", "2", "--profile"];
  const { stderr } = command.irori(args, { input: PROMPTS.slice(0, 12).join("\n") });
  assert.equal(stderr.match(/manifest and tokenizer/g)?.length, 1, stderr);
});
