// Proves that the floors, the bans and the cycle rule of the linter fail: it lints a small house of wrong files.
// It does not know how the rules are written, only what they must refuse and what they must let through.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Wrong {
  readonly fact: string;
  readonly file: string;
  readonly code: string;
  readonly rule: string;
}

const floor = "lint/style/noRestrictedImports";
const plugin = "plugin";

const wrong: readonly Wrong[] = [
  {
    fact: "an import of a higher floor",
    file: "src/models/a.ts",
    code: 'export * from "../engine/mod.ts";',
    rule: floor,
  },
  {
    fact: "an import of the same floor",
    file: "src/text/a.ts",
    code: 'export * from "../runtime/mod.ts";',
    rule: floor,
  },
  {
    fact: "memory importing the engine",
    file: "src/memory/a.ts",
    code: 'export * from "../engine/mod.ts";',
    rule: floor,
  },
  {
    fact: "a deep import of a lower floor",
    file: "src/engine/a.ts",
    code: 'export * from "../tensor/ops.ts";',
    rule: floor,
  },
  {
    fact: "a folder of a lower floor without mod.ts",
    file: "src/engine/b.ts",
    code: 'export * from "../tensor";',
    rule: floor,
  },
  {
    fact: "a deep import from a folder in an area",
    file: "src/cli/sub/a.ts",
    code: 'export * from "../../tensor/ops.ts";',
    rule: floor,
  },
  { fact: "the package's root from an area", file: "src/engine/c.ts", code: 'export * from "../mod.ts";', rule: floor },
  { fact: "node: in base", file: "src/base/a.ts", code: 'export * from "node:fs";', rule: floor },
  { fact: "node: in tensor", file: "src/tensor/a.ts", code: 'export * from "node:fs/promises";', rule: floor },
  { fact: "an npm package in tensor", file: "src/tensor/b.ts", code: 'export * from "zod";', rule: floor },
  { fact: "koffi outside its two files", file: "src/runtime/a.ts", code: 'export * from "koffi";', rule: floor },
  { fact: "jinja outside chat.ts", file: "src/text/b.ts", code: 'export * from "@huggingface/jinja";', rule: floor },
  { fact: "citty outside cli", file: "src/engine/d.ts", code: 'export * from "citty";', rule: floor },
  { fact: "node:sqlite outside its file", file: "src/memory/b.ts", code: 'export * from "node:sqlite";', rule: floor },
  { fact: "a package that no table names", file: "src/cli/a.ts", code: 'export * from "left-pad";', rule: floor },
  { fact: "an area that has no floor", file: "src/attic/a.ts", code: 'export * from "../base/mod.ts";', rule: floor },
  {
    fact: "a dynamic import upwards",
    file: "src/tensor/c.ts",
    code: 'export const m = await import("../engine/mod.ts");',
    rule: floor,
  },
  {
    fact: "a type-only import upwards",
    file: "src/tensor/d.ts",
    code: 'export type { e } from "../engine/mod.ts";',
    rule: floor,
  },
  {
    fact: "a test that reaches upwards",
    file: "src/tensor/e.test.ts",
    code: 'import "../engine/mod.ts";',
    rule: floor,
  },
  {
    fact: "an example that reaches inside",
    file: "examples/01-a.ts",
    code: 'import "../src/engine/row.ts";',
    rule: floor,
  },
  {
    fact: "an import inside a type",
    file: "src/engine/e.ts",
    code: 'export type E = import("../base/mod.ts").E;',
    rule: plugin,
  },
  {
    fact: "typeof an import inside a type",
    file: "src/engine/f.ts",
    code: 'export type E = typeof import("zod");',
    rule: plugin,
  },
  { fact: "a cycle", file: "src/hooks/a.ts", code: 'export * from "./b.ts";', rule: "lint/suspicious/noImportCycles" },
  {
    fact: "a require of a package of another area",
    file: "src/engine/j.ts",
    code: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);\nexport const k = require("koffi");',
    rule: floor,
  },
  { fact: "a default export", file: "src/hooks/c.ts", code: "export default 1;", rule: "lint/style/noDefaultExport" },
  {
    fact: "console below the faces",
    file: "src/engine/g.ts",
    code: "console.log(1);",
    rule: "lint/suspicious/noConsole",
  },
  {
    fact: "an unused import",
    file: "src/engine/h.ts",
    code: 'import { e } from "../base/mod.ts";',
    rule: "lint/correctness/noUnusedImports",
  },
  {
    fact: "an unused variable",
    file: "src/engine/i.ts",
    code: "const e = 1;",
    rule: "lint/correctness/noUnusedVariables",
  },
];

/** File → its code: what the rules must let through. */
const right: Readonly<Record<string, string>> = {
  "src/base/mod.ts": "export const e = 1;\n",
  "src/tensor/ops.ts": 'export { e } from "../base/mod.ts";\n',
  "src/tensor/mod.ts": 'export { e } from "./ops.ts";\n',
  "src/tensor/ops.test.ts": 'import "node:test";\nimport "fast-check";\nimport "./mod.ts";\n',
  "src/runtime/mod.ts": 'export { e } from "../tensor/mod.ts";\n',
  "src/runtime/ort.ts": 'import "node:fs/promises";\nimport "koffi";\nimport "zod";\nimport "../base/mod.ts";\n',
  "src/text/chat.ts": 'import "@huggingface/jinja";\n',
  "src/engine/row.ts": "export const row = 1;\n",
  "src/engine/mod.ts": 'import "../models/mod.ts";\n\nexport { e } from "../runtime/mod.ts";\n',
  "src/models/mod.ts": 'export { e } from "../tensor/mod.ts";\n',
  "src/adapt/mod.ts": 'export { e } from "../engine/mod.ts";\n',
  "src/memory/sqlite.ts": 'import "node:sqlite";\n',
  "src/hooks/b.ts": 'export * from "./a.ts";\n',
  "src/cli/main.ts":
    'import "citty";\nimport "@clack/prompts";\nimport "../engine/mod.ts";\n\nconsole.log(process.env);\n',
  "src/cli/sub/b.ts": 'import "../../engine/mod.ts";\nimport "../main.ts";\nimport "citty";\n',
  "examples/02-b.ts": 'import "irori";\nimport "irori/tensor";\n',
};

interface Diagnostic {
  readonly severity: string;
  readonly category: string;
  readonly location: { readonly path: string | { readonly file: string } };
}

/** File → the categories of its errors. */
const errors = new Map<string, Set<string>>();
let house: string;

function put(file: string, code: string): void {
  mkdirSync(dirname(join(house, file)), { recursive: true });
  writeFileSync(join(house, file), code);
}

before(() => {
  house = mkdtempSync(join(tmpdir(), "irori-floors-"));
  for (const name of ["biome.json", "floors.biome.json", "scripts/no-import-type.grit"])
    cpSync(join(root, name), join(house, name), { recursive: true });
  for (const [file, code] of Object.entries(right)) put(file, code);
  for (const { file, code } of wrong) put(file, `${code}\n`);
  const biome = join(root, "node_modules/@biomejs/biome/bin/biome");
  const args = [biome, "lint", "--reporter=json", "--max-diagnostics=none", "--diagnostic-level=error"];
  const run = spawnSync(process.execPath, args, { cwd: house, encoding: "utf8", timeout: 60_000 });
  assert.equal(run.status, 1, run.stderr);
  // The reporter leaves tabs in strings, which JSON forbids.
  const report: { diagnostics: readonly Diagnostic[] } = JSON.parse(run.stdout.replaceAll("\t", " "));
  for (const { category, location } of report.diagnostics) {
    const file = typeof location.path === "string" ? location.path : location.path.file;
    errors.set(file, (errors.get(file) ?? new Set()).add(category));
  }
});

after(() => rmSync(house, { recursive: true, force: true }));

for (const { fact, file, code, rule } of wrong)
  test(`${fact} is an error (${code})`, () => {
    assert.ok(errors.get(file)?.has(rule), `${file}: got ${[...(errors.get(file) ?? ["no error"])]}, wanted ${rule}`);
  });

test("what the table allows is no error", () => {
  const inCycle = ["src/hooks/b.ts"];
  const blamed = Object.keys(right).filter((file) => errors.has(file) && !inCycle.includes(file));
  assert.deepEqual(blamed, []);
});

test("floors.biome.json is what scripts/floors.mjs writes", () => {
  const run = spawnSync(process.execPath, [join(root, "scripts/floors.mjs"), "--check"], { encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
});
