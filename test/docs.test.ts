// What the docs say of the families is what the tests show; links between pages lead somewhere.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { pages } from "./support-table.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

test("docs/models.md has the table that the families and their goldens give (node test/support-table.ts writes it)", async () => {
  const { is, should } = await pages();
  assert.equal(is, should);
});

test("every link of the docs leads to a file", () => {
  const all = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    ...readdirSync(join(root, "docs"), { recursive: true }).map((name) => join("docs", String(name))),
  ];
  for (const page of all.filter((name) => name.endsWith(".md")))
    for (const [, link = ""] of readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)#\s]+)[^)]*\)/g))
      if (!/^[a-z]+:/.test(link)) assert.ok(existsSync(join(root, dirname(page), link)), `${page}: ${link}`);
});
