// The command end to end on a tiny model, each in a process of its own: the fixed JSON forms, streams, exits.
// It does not know the real model (smollm2.test.ts) nor speed.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bin, type CommandAt, commandAt } from "./setup/command.ts";
import { CONTEXT, writeTinyModel } from "./setup/tiny-model.ts";

let folder: string;
let home: string;
let model: string;
let command: CommandAt;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-cli-"));
  home = join(folder, "home");
  command = commandAt(home);
  model = `file:${writeTinyModel(join(folder, "tiny"))}`;
});
after(() => rmSync(folder, { recursive: true, force: true }));

const _environment = (more?: Readonly<Record<string, string>>) => command.environment(more);
const irori: CommandAt["irori"] = (...given) => command.irori(...given);
const json: CommandAt["json"] = (...given) => command.json(...given);
const start: CommandAt["start"] = (...given) => command.start(...given);

const greedy = ["--temperature", "0", "--max-tokens"];

test("the help names every command, the version is the package's", () => {
  const { status, stdout } = irori(["--help"]);
  assert.equal(status, 0);
  for (const name of ["run", "pull", "ls", "show", "rm", "tokenize", "score", "bench", "doctor"])
    assert.match(stdout, new RegExp(`^  ${name}\\b`, "m"));
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  assert.equal(irori(["--version"]).stdout, `${version}\n`);
  assert.match(irori(["run", "--help"]).stdout, /--repetition-penalty/);
});

test("run --raw --json has the fixed form", () => {
  const answer = json(["run", model, "the hat", "--raw", ...greedy, "12"]);
  assert.deepEqual(Object.keys(answer), ["text", "ids", "promptTokens", "hasBos", "stop", "timings", "seed"]);
  assert.deepEqual(Object.keys(answer.timings), ["openMs", "prefillMs", "decodeMs", "firstTokenMs", "tokensPerSecond"]);
  for (const [name, value] of Object.entries(answer.timings)) assert.equal(typeof value, "number", name);
  assert.equal(answer.ids.length, 12);
  assert.equal(answer.stop, "length");
  assert.equal(answer.promptTokens, json(["tokenize", model, "the hat"]).ids.length);
  assert.equal(json(["tokenize", model, "--decode", answer.ids.join()]).text, answer.text);
});

test("run prints the text that its JSON has, and the chat template is applied unless --raw", () => {
  const raw = json(["run", model, "the hat", "--raw", ...greedy, "12"]);
  assert.equal(irori(["run", model, "the hat", "--raw", ...greedy, "12"]).stdout, `${raw.text}\n`);
  const chat = json(["run", model, "the hat", ...greedy, "12"]);
  const rendered = "<|user|>the hat\n<|assistant|>";
  assert.deepEqual(json(["run", model, rendered, "--raw", ...greedy, "12"]).ids, chat.ids);
  assert.equal(chat.promptTokens, json(["tokenize", model, rendered]).ids.length);
});

test("the prompt may come from stdin, a text of digits stays a text", () => {
  const { ids } = json(["run", model, "007", "--raw", ...greedy, "5"]);
  assert.deepEqual(json(["run", model, "--raw", ...greedy, "5"], { input: "007" }).ids, ids);
  assert.deepEqual(json(["run", model, "-", "--raw", ...greedy, "5"], { input: "007" }).ids, ids);
  assert.equal(json(["tokenize", "--json", model, "007"]).ids.length, 3);
});

test("the same seed gives the same answer, and a drawn seed is told", () => {
  const sampled = ["run", model, "in", "--raw", "--temperature", "1.5", "--top-k", "0", "--max-tokens", "24"];
  const first = json(sampled);
  assert.deepEqual(json([...sampled, "--seed", String(first.seed)]).ids, first.ids);
  assert.notDeepEqual(json([...sampled, "--seed", String(first.seed + 1)]).ids, first.ids);
});

test("--stop may be repeated and ends the answer before its text", () => {
  const { text } = json(["run", model, "the hat", "--raw", ...greedy, "30"]);
  const at = text.slice(10, 12);
  const answer = json(["run", model, "the hat", "--raw", ...greedy, "30", "--stop", "never", "--stop", at]);
  assert.equal(answer.stop, "stop");
  assert.equal(answer.text, text.slice(0, text.indexOf(at)));
});

test("tokenize recognises control tokens unless --plain, and --decode is the way back", () => {
  const { ids } = json(["tokenize", model, "<|user|>the hen"]);
  assert.equal(ids[0], 3);
  const plain = json(["tokenize", model, "<|user|>the hen", "--plain"]).ids;
  assert.ok(!plain.includes(3));
  for (const list of [ids.join(), JSON.stringify(ids), plain.join()])
    assert.deepEqual(json(["tokenize", model, "--decode", list]), { text: "<|user|>the hen" });
});

test("score has the fixed form, each from the second token on", () => {
  const file = join(folder, "text.txt");
  writeFileSync(file, "the thin hen in the hat");
  const all = json(["score", model, "--file", file, "--max-tokens", "9", "--form", "f32"]);
  assert.deepEqual(Object.keys(all), ["ids", "meanNll", "perplexity", "nll", "argmax"]);
  assert.deepEqual(all.ids, json(["tokenize", model, "the thin hen in the hat"]).ids.slice(0, 9));
  assert.equal(all.nll.length, 8);
  assert.equal(all.argmax.length, 8);
  const mean = all.nll.reduce((sum: number, x: number) => sum + x, 0) / 8;
  assert.ok(Math.abs(mean - all.meanNll) < 1e-9);
  assert.ok(Math.abs(Math.exp(mean) - all.perplexity) < 1e-9 * all.perplexity);
});

test("pull, ls, show and rm tell of the same model", () => {
  const other = `file:${writeTinyModel(join(folder, "other"))}`;
  const pulled = json(["pull", other]);
  assert.equal(pulled.forms[0].form, "blocks");
  const listed = json(["ls"]).models.find(({ name }: { name: string }) => name === pulled.name);
  assert.equal(listed.source, pulled.source);
  const shown = json(["show", pulled.name, "--context", "100"]);
  assert.equal(shown.family, "llama");
  assert.equal(shown.parameters, 160 * 32 + 2 * (3 * 32 * 32 + 3 * 56 * 32 + 2 * 32) + 32);
  assert.equal(shown.plan.context, 100);
  const sum = shown.plan.items.reduce((all: number, { bytes }: { bytes: number }) => all + bytes, 0);
  assert.equal(sum, shown.plan.privateBytes + shown.plan.mappedBytes);
  assert.equal(json(["run", pulled.name, "hen", "--raw", ...greedy, "3"]).ids.length, 3);
  assert.ok(json(["rm", pulled.name]).freedBytes > 0);
  assert.ok(readFileSync(join(folder, "other", "config.json")).length > 0, "the file in place stays");
  assert.equal(irori(["show", pulled.name]).status, 4);
  assert.deepEqual(json(["show", "smollm2-135m"]).isPulled, false);
});

test("doctor finds all that is needed, and says that a store that cannot be made fails", () => {
  const { isFine, findings } = json(["doctor"]);
  assert.equal(isFine, true);
  assert.deepEqual(
    findings.map(({ name }: { name: string }) => name),
    ["platform", "ONNX Runtime", "threads", "memory", "store", "disk", "pip"],
  );
  const blocked = irori(["doctor"], { env: { IRORI_HOME: join(bin, "below-a-file") } });
  assert.equal(blocked.status, 1);
  assert.match(blocked.stdout, /FAILS\s+store/);
});

test("settings tells what is in force and who said so, and changes the file; every command goes by it", () => {
  const file = join(folder, "settings.json");
  const env = { IRORI_SETTINGS: file, IRORI_MEMORY_RECALL_COUNT: "7" };
  const at = (args: readonly string[]) => {
    const { status, stdout, stderr } = irori([...args, "--json"], { env });
    assert.equal(status, 0, stdout + stderr);
    return JSON.parse(stdout);
  };
  assert.deepEqual(at(["settings", "set", "threads", "1"]), { key: "threads", value: 1, file });
  const { settings, models } = at(["settings", "--preset", "quick_experiment", "--no-spin"]);
  const said = (name: string) => {
    const { value, source, from } = settings.find(({ key }: { key: string }) => key === name);
    return [value, source, from];
  };
  assert.deepEqual(said("threads"), [1, "file", file]);
  assert.deepEqual(said("spin"), [false, "flag", "--no-spin"]);
  assert.deepEqual(said("generator"), ["mock", "preset", "quick_experiment"]);
  assert.deepEqual(said("memory.recallCount"), [7, "env", "IRORI_MEMORY_RECALL_COUNT"]);
  assert.deepEqual(said("kvType"), ["f32", "default", undefined]);
  assert.deepEqual(models, []);
  assert.match(at(["doctor"]).findings[2].found, /^1 of/);
  assert.equal(at(["settings", "get", "threads", "--threads", "2"]).value, 2);
  assert.match(irori(["settings"], { env }).stdout, /^threads +1 +file /m);
  at(["settings", "unset", "threads"]);
  assert.equal(at(["settings", "get", "threads"]).source, "default");
  writeFileSync(file, '{ "threds": 1 }');
  const wrong = irori(["ls"], { env });
  assert.deepEqual([wrong.status, wrong.stdout], [2, ""]);
  assert.match(wrong.stderr, /"threds"; perhaps threads is meant/);
  at(["settings", "unset", "threds"]); // a file with a wrong key can be repaired
  assert.equal(irori(["ls"], { env }).status, 0);
});

test("--profile tells every start-up step on stderr, in order", () => {
  const { stdout, stderr } = irori(["run", model, "hen", "--raw", ...greedy, "2", "--json", "--profile"]);
  assert.equal(JSON.parse(stdout).ids.length, 2);
  const steps = ["cli loaded", "command loaded", "store open", "manifest", "runtime open", "program", "first token"];
  const at = steps.map((step) => stderr.indexOf(step));
  assert.ok(!at.includes(-1), stderr);
  assert.deepEqual(
    at,
    at.toSorted((a, b) => a - b),
    stderr,
  );
});

test("an answer streams: stopped by Ctrl-C at its first piece, it ends short with exit 130", async () => {
  const args = ["run", model, "the hat", "--raw", ...greedy, "1500"];
  const child = start(args);
  let text = "";
  child.stdout.on("data", (piece) => {
    if (text === "") child.kill("SIGINT");
    text += piece;
  });
  const [code] = await once(child, "close");
  assert.equal(code, 130);
  const whole = json(args).text;
  assert.ok(text.length > 1 && text.length < whole.length / 2, `${text.length} of ${whole.length} characters`);
  assert.equal(text.trimEnd(), whole.slice(0, text.length - 1).trimEnd());
});

test("Ctrl-C under --json gives the part that was made, stop cancelled", async () => {
  const child = start(["run", model, "the hat", "--raw", ...greedy, String(CONTEXT), "--json"]);
  let out = "";
  child.stdout.on("data", (piece) => {
    out += piece;
  });
  // nothing tells from outside that the answer has begun; the prepared weights are mapped shortly before
  const isMapped = () => process.platform !== "linux" || readFileSync(`/proc/${child.pid}/maps`, "utf8").includes(home);
  const mapped = setInterval(() => {
    if (!isMapped()) return;
    clearInterval(mapped);
    setTimeout(() => child.kill("SIGINT"), 150);
  }, 5);
  const [code] = await once(child, "close");
  clearInterval(mapped);
  assert.equal(code, 130);
  const answer = JSON.parse(out);
  assert.equal(answer.stop, "cancelled");
  assert.ok(answer.ids.length < CONTEXT - 10);
});

test("a reader who goes away ends the run without a word", async () => {
  const child = start(["run", model, "the hat", "--raw", ...greedy, String(CONTEXT)]);
  let errors = "";
  child.stderr.on("data", (piece) => {
    errors += piece;
  });
  child.stdout.once("data", () => child.stdout.destroy());
  const [code, signal] = await once(child, "exit");
  assert.deepEqual([code, signal, errors], [0, null, ""]);
});

test("an alias answers as it says, is listed, and goes without its model", () => {
  const made = irori([
    "alias",
    "brief",
    "--from",
    model,
    "--system",
    "the hat",
    "--max-tokens",
    "5",
    "--temperature",
    "0",
    "--json",
  ]);
  assert.equal(made.status, 0, made.stderr);
  const from = `file:${model.replace(/^file:/, "")}`;
  assert.deepEqual(JSON.parse(made.stdout), {
    name: "brief",
    from,
    system: "the hat",
    sampling: { temperature: 0 },
    maxTokens: 5,
  });
  const answer = JSON.parse(irori(["run", "brief", "in", "--json"]).stdout);
  const plain = JSON.parse(
    irori(["run", model, "in", "--system", "the hat", "--temperature", "0", "--max-tokens", "5", "--json"]).stdout,
  );
  assert.deepEqual([answer.ids, answer.ids.length], [plain.ids, 5]);
  const more = JSON.parse(irori(["run", "brief", "in", "--max-tokens", "7", "--json"]).stdout);
  assert.equal(more.ids.length, 7);
  const listed = JSON.parse(irori(["ls", "--json"]).stdout);
  assert.deepEqual(
    listed.aliases.map(({ name }: { name: string }) => name),
    ["brief"],
  );
  assert.equal(irori(["rm", "brief", "--yes"]).status, 0);
  const left = JSON.parse(irori(["ls", "--json"]).stdout);
  assert.deepEqual([left.aliases.length, left.models.length], [0, listed.models.length]);
});

test("nobody reading stderr is no reason to stop: the answer is whole", async () => {
  const child = start(["run", model, "the hat", "--raw", ...greedy, "40", "--json"]);
  child.stderr.destroy();
  let out = "";
  child.stdout.on("data", (piece) => {
    out += piece;
  });
  const [code] = await once(child, "close");
  assert.equal(code, 0);
  assert.equal(JSON.parse(out).ids.length, 40);
});

const failures: Readonly<
  Record<string, { args: () => string[]; exit: number; code: string; says: RegExp; env?: Record<string, string> }>
> = {
  "a model that nobody knows": {
    args: () => ["run", "nope", "x"],
    exit: 4,
    code: "not-found",
    says: /nope.*wanted smollm2/,
  },
  "a path that does not exist": {
    args: () => ["run", `file:${folder}/none`, "x"],
    exit: 4,
    code: "not-found",
    says: /none/,
  },
  "a checkpoint that is cut": {
    args: () => {
      const cut = writeTinyModel(join(folder, "cut"));
      truncateSync(join(cut, "model.safetensors"), 5000);
      return ["run", `file:${cut}`, "x"];
    },
    exit: 3,
    code: "bad-file",
    says: /model\.safetensors/,
  },
  "an architecture that is not known": {
    args: () => ["run", `file:${writeTinyModel(join(folder, "nope"), { model_type: "nope" })}`, "x"],
    exit: 5,
    code: "unsupported",
    says: /nope.*llama/,
  },
  "a prompt longer than the context": {
    args: () => ["run", model, "x".repeat(CONTEXT + 1), "--raw"],
    exit: 6,
    code: "no-room",
    says: /4,097 tokens.*4,095/,
  },
  "a store that cannot be written": {
    args: () => ["run", model, "x"],
    env: { IRORI_HOME: join(bin, "below-a-file") },
    exit: 7,
    code: "io",
    says: /below-a-file/,
  },
  "a fetch while offline": {
    args: () => ["run", "smollm2-135m", "x"],
    env: { IRORI_OFFLINE: "1" },
    exit: 4,
    code: "not-found",
    says: /offline/i,
  },
  "an empty prompt": { args: () => ["run", model, ""], exit: 2, code: "bad-input", says: /empty/ },
  "an unknown option": {
    args: () => ["run", model, "x", "--tempreature", "1"],
    exit: 2,
    code: "bad-input",
    says: /tempreature/,
  },
  "an unknown command": { args: () => ["walk"], exit: 2, code: "bad-input", says: /"walk".*run,.* pull,/ },
  "no model": { args: () => ["run"], exit: 2, code: "bad-input", says: /MODEL is missing/ },
  "a text without quotes": { args: () => ["run", model, "a", "b"], exit: 2, code: "bad-input", says: /quotes/ },
  "a number that is none": {
    args: () => ["run", model, "x", "--max-tokens", "many"],
    exit: 2,
    code: "bad-input",
    says: /"many".*whole number/,
  },
  "a temperature below 0": {
    args: () => ["run", model, "x", "--temperature=-1"],
    exit: 2,
    code: "bad-input",
    says: /0 or more/,
  },
  "a form that is none": {
    args: () => ["run", model, "x", "--form", "q3"],
    exit: 2,
    code: "bad-input",
    says: /served or blocks or q8 or q4 or f32 or int8/,
  },
  "no threads": { args: () => ["run", model, "x", "--threads", "0"], exit: 2, code: "bad-input", says: /--threads/ },
  "an id outside the vocabulary": {
    args: () => ["tokenize", model, "--decode", "160"],
    exit: 2,
    code: "bad-input",
    says: /0 to 159/,
  },
  "a text file that is missing": {
    args: () => ["score", model, "--file", "/none.txt"],
    exit: 4,
    code: "not-found",
    says: /none\.txt/,
  },
};

for (const [what, { args, exit, code, says, env = {} }] of Object.entries(failures))
  test(`${what} is one sentence and exit ${exit}`, () => {
    const given = args();
    const plain = irori(given, { env });
    assert.equal(plain.status, exit, plain.stderr);
    assert.equal(plain.stdout, "");
    assert.match(plain.stderr, says);
    assert.match(plain.stderr, /^irori: [^\n]+\n$/, "one line, no stack");
    const told = irori([...given, "--json"], { env });
    assert.equal(told.status, exit);
    assert.equal(told.stderr, "");
    const { error } = JSON.parse(told.stdout);
    assert.equal(error.code, code);
    assert.equal(`irori: ${error.message}\n`, plain.stderr);
  });
