// Every acceptance check of the reference (1 to 25) is a test that is found by its number, and every key of the original's
// numbers is read by a test. It does not know what they check.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { insightVectors } from "./insight-vectors.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const own = fileURLToPath(import.meta.url);
const sources = ["test", "src/memory", "src/settings"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts") || name.endsWith("memory-contract.ts"))
    .map((name) => join(root, folder, name))
    .filter((path) => path !== own)
    .map((path) => readFileSync(path, "utf8")),
);
const all = sources.join("\n");

test("the acceptance checks 1 to 25 are tests with their number in front", () => {
  const titles = [...all.matchAll(/(?:\btest\(|fact:)\s*["`](\d+): /g)].map(([, number]) => Number(number));
  const missing = Array.from({ length: 25 }, (_, i) => i + 1).filter((number) => !titles.includes(number));
  assert.deepEqual(missing, []);
});

test("every key of the original's numbers is read by a test", () => {
  const missing = Object.keys(insightVectors).filter((key) => key !== "_about" && !all.includes(key));
  assert.deepEqual(missing, []);
});
