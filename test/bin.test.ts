// The command bin/irori.js: which Node it takes, what it hands on, what it says. It runs against a stand-in for the
// CLI in a folder of its own and does not know the real one.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let bin: string;
let old: string;

/** Stands in for the CLI. */
const cli = `
const [what, value] = process.argv.slice(2);
if (what === "exit") process.exit(Number(value));
else if (what === "die") process.kill(process.pid, "SIGKILL");
else if (what === "wait") {
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => { console.log(signal); process.exit(7); });
  setInterval(() => {}, 1000);
  console.log("ready");
} else console.log(JSON.stringify({ pid: process.pid, major: parseInt(process.versions.node), args: process.argv.slice(2) }));
`;

/** Runs the command as a Node 20 would: only the version is another. */
const pretend = `Object.defineProperty(process, "version", { value: "v20.0.0" });
process.argv.splice(1, 1);
require(process.argv[1]);
`;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-bin-"));
  bin = join(folder, "bin/irori.js");
  old = join(folder, "old.cjs");
  cpSync(join(root, "bin"), join(folder, "bin"), { recursive: true });
  mkdirSync(join(folder, "dist/cli"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "dist/cli/main.js"), cli);
  writeFileSync(old, pretend);
});

after(() => rmSync(folder, { recursive: true, force: true }));

type Variables = Readonly<Record<string, string>>;

function environment(variables: Variables): NodeJS.ProcessEnv {
  const { IRORI_NODE: _, NODE_OPTIONS: __, NODE_TEST_CONTEXT: ___, ...rest } = process.env;
  return { ...rest, ...variables };
}

function run(files: readonly string[], args: readonly string[], variables: Variables = {}) {
  const options = { encoding: "utf8", env: environment(variables), timeout: 60_000 } as const;
  return spawnSync(process.execPath, [...files, ...args], options);
}

/** A folder with a program named node that answers with this version. */
function pathWithNode(version: string): string {
  const at = mkdtempSync(join(folder, "path-"));
  writeFileSync(join(at, "node"), `#!/bin/sh\necho ${version}\n`);
  chmodSync(join(at, "node"), 0o755);
  return at;
}

test("under Node 24 the CLI runs in the process of the command", () => {
  const { stdout, pid } = run([bin], ["a", "--b", ""]);
  assert.deepEqual(JSON.parse(stdout), {
    pid,
    major: Number.parseInt(process.versions.node, 10),
    args: ["a", "--b", ""],
  });
});

test("an older Node starts the Node 24 that IRORI_NODE names, with the arguments unchanged", () => {
  const { stdout, stderr } = run([old, bin], ["a b", "--c=d"], { IRORI_NODE: process.execPath });
  assert.deepEqual(JSON.parse(stdout).args, ["a b", "--c=d"], stderr);
});

test("an older Node skips a Node 20 on the PATH and starts the 24 behind it", () => {
  const PATH = [pathWithNode("v20.1.0"), dirname(process.execPath)].join(":");
  const { stdout, stderr } = run([old, bin], ["x"], { PATH });
  assert.deepEqual(JSON.parse(stdout).args, ["x"], stderr);
});

test("without any Node 24 it says so in one sentence and exits 1", () => {
  const { status, stderr } = run([old, bin], ["x"], { PATH: pathWithNode("v20.1.0") });
  assert.equal(status, 1);
  assert.equal(stderr, "irori: this is Node v20.0.0, wanted 24 or newer; install Node 24 or name one in IRORI_NODE\n");
});

test("an IRORI_NODE that is too old is an error, not a hint", () => {
  const { status, stderr } = run([old, bin], ["x"], { IRORI_NODE: join(pathWithNode("v20.1.0"), "node") });
  assert.equal(status, 1);
  assert.match(stderr, /^irori: IRORI_NODE: .* is v20\.1\.0, wanted Node 24 or newer\n$/);
});

for (const [name, files] of [
  ["the same process", () => [bin]],
  ["a started Node", () => [old, bin]],
] as const) {
  const variables = { IRORI_NODE: process.execPath };

  test(`the exit code of the CLI is that of the command (${name})`, () => {
    assert.equal(run(files(), ["exit", "5"], variables).status, 5);
  });

  test(`a CLI that a signal ended ends the command by that signal (${name})`, () => {
    assert.equal(run(files(), ["die"], variables).signal, "SIGKILL");
  });

  for (const signal of ["SIGTERM", "SIGINT"] as const)
    test(`${signal} reaches the CLI, which decides the exit code (${name})`, { timeout: 60_000 }, async () => {
      const child = spawn(process.execPath, [...files(), "wait"], { env: environment(variables), stdio: "pipe" });
      let out = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        if (out === "") child.kill(signal);
        out += text;
      });
      const [code] = await once(child, "close");
      assert.deepEqual({ code, out }, { code: 7, out: `ready\n${signal}\n` });
    });
}

test("a package without its CLI says which files it looked for", () => {
  const empty = mkdtempSync(join(folder, "empty-"));
  cpSync(join(root, "bin"), join(empty, "bin"), { recursive: true });
  const { status, stderr } = run([join(empty, "bin/irori.js")], []);
  assert.equal(status, 1);
  assert.match(stderr, /^irori: neither .*main\.ts nor .*main\.js exists; install the package again\n$/);
});
