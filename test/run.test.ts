// The bootstrap scripts/run.mjs in a folder of its own, with a stand-in for npm: when it installs, what it hands on.
// It does not know the registry; that the real lock file installs is seen by every fresh clone.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;

/** Writes down how it was called, then leaves what `npm ci` would: a Node 24. */
const npm = `
const fs = require("node:fs");
fs.appendFileSync("calls", process.argv.slice(2).join(" ") + " " + process.env.ONNXRUNTIME_NODE_INSTALL + "\\n");
if (fs.existsSync("broken")) process.exit(3);
fs.mkdirSync("node_modules/node/bin", { recursive: true });
if (!fs.existsSync("node_modules/node/bin/node")) fs.symlinkSync(process.execPath, "node_modules/node/bin/node");
`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-run-"));
  mkdirSync(join(folder, "scripts"));
  cpSync(join(root, "scripts/run.mjs"), join(folder, "scripts/run.mjs"));
  writeFileSync(
    join(folder, "scripts/demo.ts"),
    "console.log('demo', ...process.argv.slice(2)); process.exitCode = 5;\n",
  );
  writeFileSync(join(folder, "package-lock.json"), "{}");
  writeFileSync(join(folder, "npm-cli.cjs"), npm);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function run(...args: readonly string[]) {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...rest } = process.env;
  const env = { ...rest, npm_execpath: join(folder, "npm-cli.cjs") };
  const options = { cwd: folder, encoding: "utf8", env, timeout: 60_000 } as const;
  return spawnSync(process.execPath, ["scripts/run.mjs", ...args], options);
}

function calls(): readonly string[] {
  return existsSync(join(folder, "calls")) ? readFileSync(join(folder, "calls"), "utf8").trim().split("\n") : [];
}

test("the first task installs from the lock file without the runtime's downloads, then runs with its arguments", () => {
  const { status, stdout } = run("demo", "a", "--b");
  assert.match(stdout, /^irori: installing what the lock file names .*\ndemo a --b\n$/);
  assert.equal(status, 5, "the exit code is that of the task");
  assert.equal(calls().length, 1);
  assert.match(calls()[0] ?? "", /^ci .* skip$/);
});

test("the second task installs nothing; one after a change of the lock file does", () => {
  run("demo");
  assert.equal(run("demo").stdout, "demo\n");
  appendFileSync(join(folder, "package-lock.json"), " ");
  run("demo");
  assert.equal(calls().length, 2);
});

test("an install that failed ends with its exit code, runs nothing and is tried again", () => {
  writeFileSync(join(folder, "broken"), "");
  const { status, stdout, stderr } = run("demo");
  assert.equal(status, 3);
  assert.equal(stderr, "irori: npm ci ended with code 3; nothing was run\n");
  assert.doesNotMatch(stdout, /demo/);
  rmSync(join(folder, "broken"));
  assert.equal(run("demo").status, 5);
});

test("a selection of tests passes and fails by its exit code and ends with the runner's summary", () => {
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "src/a.test.ts"), 'import test from "node:test";\ntest("a", () => {});\n');
  const green = run("test", "src");
  assert.equal(green.status, 0, green.stdout);
  assert.match(green.stdout, /ℹ tests 1\n[\s\S]*ℹ duration_ms [\d.]+\n$/);
  writeFileSync(join(folder, "src/b.test.ts"), 'throw new Error("red");\n');
  assert.equal(run("test", "src").status, 1);
});

test("an unknown task and an empty selection are errors in one sentence", () => {
  assert.match(run("dmeo").stderr, /^irori: no task "dmeo"; wanted one of demo, test, .*\n$/);
  const { status, stderr } = run("test", "src/nope");
  assert.equal(status, 1);
  assert.equal(stderr, "irori: src/nope does not exist; wanted a test file or a folder of them\n");
});
