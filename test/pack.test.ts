// What a user installs: the packed package in a folder of its own, its command, every subpath it exports.
// It reads both from package.json, so it grows with it. The registry client fetches what the package depends on.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const windows = process.platform === "win32";
const manifest: { version: string; exports: Record<string, unknown>; bin: Record<string, string>; files: string[] } =
  JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const subpaths = Object.keys(manifest.exports).filter((path) => !path.endsWith(".json"));
let folder: string;
let installed: string;

/** Our environment without what npm and the test runner tell their children about this package. */
function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const ours = /^(npm_(package|lifecycle|command|config_local_prefix)|NODE_TEST_CONTEXT$|NODE_OPTIONS$)/;
  const rest = Object.entries(process.env).filter(([name]) => !ours.test(name));
  return { ...Object.fromEntries(rest), ONNXRUNTIME_NODE_INSTALL: "skip", ...extra };
}

function run(command: string, args: readonly string[], cwd: string, extra?: Readonly<Record<string, string>>) {
  const options = { cwd, env: environment(extra), encoding: "utf8", timeout: 240_000 } as const;
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, options);
  const story = `${basename(command)} ${args.join(" ")}: ${error?.message ?? signal ?? status}\n${stdout}\n${stderr}`;
  return { status, stdout, stderr, story };
}

function npm(args: readonly string[], cwd: string): void {
  const path = process.env.npm_execpath;
  const known = path !== undefined && basename(path).startsWith("npm");
  const { status, story } = known
    ? run(process.execPath, [path, ...args], cwd)
    : run(windows ? "npm.cmd" : "npm", args, cwd);
  assert.equal(status, 0, story);
}

before(
  () => {
    folder = mkdtempSync(join(tmpdir(), "irori-pack-"));
    installed = join(folder, "node_modules", "irori");
    npm(["pack", "--pack-destination", folder], root);
    const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
    assert.ok(tarball, "npm pack wrote no archive");
    writeFileSync(join(folder, "package.json"), '{ "name": "user", "private": true, "type": "module" }\n');
    npm(["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, tarball)], folder);
  },
  { timeout: 500_000 },
);

after(() => rmSync(folder, { recursive: true, force: true }));

for (const subpath of subpaths) {
  const specifier = join("irori", subpath).replaceAll("\\", "/");

  test(`${specifier} can be imported from the installed package and exports names`, () => {
    const code = `console.log(Object.keys(await import(${JSON.stringify(specifier)})).length)`;
    const { stdout, story } = run(process.execPath, ["--input-type=module", "--eval", code], folder);
    assert.ok(Number(stdout) > 0, story);
  });
}

test("a user's TypeScript sees the types of every subpath, and wrong use is an error", () => {
  const imports = subpaths.map((path, i) => `import * as area${i} from "${join("irori", path)}";`);
  const uses = subpaths.map((_, i) => `export type Names${i} = keyof typeof area${i};`);
  const wrong = ["// @ts-expect-error a version is a string", "export const version: number = area0.version;"];
  writeFileSync(join(folder, "user.ts"), `${[...imports, ...uses, ...wrong].join("\n")}\n`);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "esnext", ...types];
  const { status, story } = run(process.execPath, [tsc, ...options, "user.ts"], folder);
  assert.equal(status, 0, story);
});

test("the version that the package exports is that of package.json", () => {
  const code = 'console.log((await import("irori")).version)';
  const { stdout, story } = run(process.execPath, ["--input-type=module", "--eval", code], folder);
  assert.equal(stdout.trim(), manifest.version, story);
});

test("the package holds compiled files and no sources, tests or fixtures", () => {
  const files = readdirSync(installed, { recursive: true, encoding: "utf8" });
  const strange = files.filter((name) => /(^src\b|\.test\.|\.fixture\.|(?<!\.d)\.ts$)/.test(name));
  assert.deepEqual(strange, []);
  for (const name of manifest.files) assert.ok(existsSync(join(installed, name)), `${name} is not in the package`);
});

test("the installed command answers --version under Node 24", () => {
  const { status, stdout, story } = run(process.execPath, [join(installed, "bin/irori.js"), "--version"], folder);
  assert.equal(status, 0, story);
  assert.ok(stdout.includes(manifest.version), story);
});

/** A Node on the PATH that is too old to run Irori itself; where all are new enough, any. */
function machineNode(): string {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const nodes = folders.map((path) => join(path, windows ? "node.exe" : "node")).filter((path) => existsSync(path));
  const major = (node: string) => Number.parseInt(run(node, ["--version"], folder).stdout.slice(1), 10);
  return nodes.find((node) => major(node) < 24) ?? process.execPath;
}

test("the installed command answers --version under the machine's Node when IRORI_NODE names a Node 24", () => {
  const args = [join(installed, "bin/irori.js"), "--version"];
  const { status, stdout, story } = run(machineNode(), args, folder, { IRORI_NODE: process.execPath });
  assert.equal(status, 0, story);
  assert.ok(stdout.includes(manifest.version), story);
});

test("the shell's command of the installed package runs", () => {
  const shim = join(folder, "node_modules", ".bin", windows ? "irori.cmd" : "irori");
  const { status, stdout, story } = run(shim, ["--version"], folder, { IRORI_NODE: process.execPath });
  assert.equal(status, 0, story);
  assert.ok(stdout.includes(manifest.version), story);
});
