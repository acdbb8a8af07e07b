// `node scripts/run.mjs <task> [arguments]`: installs what the lock file names if that is missing, then runs the
// task under the Node 24 of node_modules. Plain JavaScript: the machine's own Node may be 20.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stampFile = join(root, "node_modules", ".irori-stamp");
const windows = process.platform === "win32";
let running;

function say(text) {
  console.log(`irori: ${text}`);
}

function fail(text, code = 1) {
  console.error(`irori: ${text}`);
  process.exit(code);
}

/** Starts a program with our terminal and resolves to its exit code (128 + number when a signal ended it). */
function start(command, args, options = {}) {
  return new Promise((resolve) => {
    running = spawn(command, args, { cwd: root, stdio: "inherit", ...options });
    running.on("error", (error) => fail(`${command} could not be started: ${error.message}`));
    running.on("exit", (code, signal) => {
      running = undefined;
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** A terminal's Ctrl-C reaches the child by itself; a second copy would count as a second Ctrl-C. */
function forwardSignals() {
  const onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on("SIGINT", () => onTerminal || running?.kill("SIGINT"));
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => running?.kill(signal));
}

function lockHash() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

async function install() {
  const wanted = lockHash();
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === wanted) return;
  say("installing what the lock file names (once; 0.6 GB, half of it the model runtime) …");
  const npm = process.env.npm_execpath;
  const isNpm = npm !== undefined && basename(npm).startsWith("npm");
  const args = ["ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
  const options = { env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" } };
  const code = isNpm
    ? await start(process.execPath, [npm, ...args], options)
    : await start(windows ? "npm.cmd" : "npm", args, { ...options, shell: windows });
  if (code !== 0) fail(`npm ci ended with code ${code}; nothing was run`, code);
  writeFileSync(stampFile, wanted);
}

/** The Node that runs the tasks: the devDependency's, or the one that runs us where it is new enough. */
function node24() {
  const own = join(root, "node_modules", "node", "bin", windows ? "node.exe" : "node");
  const answer = spawnSync(own, ["--version"], { encoding: "utf8" });
  const version = answer.stdout?.trim() ?? "";
  if (Number.parseInt(version.slice(1), 10) >= 24) return own;
  const got = answer.error ? answer.error.message : `it says "${version}"`;
  if (Number.parseInt(process.version.slice(1), 10) >= 24) {
    say(`${relative(root, own)} does not run (${got}); using the machine's Node ${process.version} instead`);
    return process.execPath;
  }
  return fail(
    `${relative(root, own)} does not run (${got}): the install script of the package "node" did not fetch Node 24; ` +
      "allow install scripts (npm config get ignore-scripts), delete node_modules/.irori-stamp and try again, " +
      `or start this with Node 24 (this is ${process.version})`,
  );
}

/** Runs every check, so that one run shows all that is wrong; resolves to the names of those that failed. */
async function check(node) {
  const bin = (name) => join(root, "node_modules", name);
  const steps = {
    floors: ["scripts/floors.mjs", "--check"],
    biome: [bin("@biomejs/biome/bin/biome"), "check", "--error-on-warnings"],
    tsc: [bin("typescript/bin/tsc"), "-p", "tsconfig.json"],
    knip: [bin("knip/bin/knip.js"), "--no-progress", "--no-config-hints"],
  };
  const failed = [];
  say(`checking (${Object.keys(steps).join(", ")}) …`);
  for (const [name, args] of Object.entries(steps)) if ((await start(node, args)) !== 0) failed.push(name);
  return failed;
}

/** The test files below a path; `test/full` only when asked for by name. */
function testFiles(path, full) {
  if (!existsSync(join(root, path))) return fail(`${path} does not exist; wanted a test file or a folder of them`);
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { recursive: true })
    .map((name) => join(path, name))
    .filter((name) => name.endsWith(".test.ts") && (full || !name.startsWith(join("test", "full"))))
    .sort();
}

async function test(node, args, full) {
  const flags = args.filter((arg) => arg.startsWith("-"));
  const paths = args.filter((arg) => !arg.startsWith("-"));
  if (paths.length === 0) {
    const failed = await check(node);
    if (failed.length > 0) fail(`the check failed (${failed.join(", ")}); the tests were not run`);
  }
  const some = paths.length > 0 ? paths : ["src", "test"];
  const files = some.flatMap((path) => testFiles(path, full || path.startsWith(join("test", "full"))));
  if (files.length === 0) fail(`no *.test.ts below ${some.join(", ")}`);
  say(`running ${files.length} test files${paths.length > 0 ? " (a selection: without the check)" : ""} …`);
  const env = full ? { ...process.env, IRORI_FULL: "1" } : process.env;
  const timeout = full ? 1_800_000 : 600_000; // the peers are installed by the tests that need them
  const runner = ["--test", "--test-concurrency=2", `--test-timeout=${timeout}`, "--test-reporter=spec"];
  return start(node, [...runner, ...flags, ...files], { env });
}

async function build(node) {
  const dist = join(root, "dist");
  say("building dist/ …");
  rmSync(dist, { recursive: true, force: true });
  const code = await start(node, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"]);
  if (code !== 0) return code;
  const isData = (path) => statSync(path).isDirectory() || !/\.(ts|md)$/.test(path);
  for (const area of readdirSync(join(root, "src"), { withFileTypes: true })) {
    if (!area.isDirectory()) continue;
    cpSync(join(root, "src", area.name), join(dist, area.name), { recursive: true, filter: isData });
  }
  return 0;
}

const tasks = {
  demo: (node, args) => start(node, ["scripts/demo.ts", ...args]),
  test: (node, args) => test(node, args, false),
  "test:full": (node, args) => test(node, args, true),
  check: async (node) => {
    const failed = await check(node);
    return failed.length > 0 ? fail(`the check failed (${failed.join(", ")})`) : 0;
  },
  fix: (node) => start(node, [join(root, "node_modules/@biomejs/biome/bin/biome"), "check", "--write"]),
  build,
};

const [name = "", ...args] = process.argv.slice(2);
if (!Object.hasOwn(tasks, name)) fail(`no task "${name}"; wanted one of ${Object.keys(tasks).join(", ")}`);
forwardSignals();
await install();
process.exitCode = await tasks[name](node24(), args);
