// The floors of the house (ARCHITECTURE.md) as one table, written out as lint overrides in floors.biome.json.
// `node scripts/floors.mjs` writes the file, `--check` only compares. It does not know what the areas do.

import { readFileSync, writeFileSync } from "node:fs";

/** Areas by floor, lowest first. An area imports areas of lower floors only, each through its mod.ts. */
const floors = [
  ["base"],
  ["tensor"],
  ["runtime", "checkpoint", "text", "settings", "journal"],
  ["models"],
  ["hooks"],
  ["engine"],
  ["memory", "adapt"],
  ["lab", "recommend"],
  ["serve"],
  ["cli"],
];

/** Areas that an area does without although they are lower: memory declares what it needs and is handed it. */
const never = { memory: ["engine"] };

/** Third parties of an area, for the files that may import them: "*" until it is known which file it is. */
const thirdParties = {
  "runtime/ort.ts": ["koffi", "onnxruntime-node", "node:module"],
  "runtime/library.ts": ["koffi", "onnxruntime-node", "node:module"],
  "checkpoint/source-hub.ts": ["@huggingface/hub"],
  "text/chat.ts": ["@huggingface/jinja"],
  "text/terms.ts": ["stemmer"],
  "engine/providers/event-stream.ts": ["eventsource-parser"],
  "memory/sqlite.ts": ["node:sqlite"],
  "memory/sqlite/messages.ts": ["node:module"],
  "memory/postgres.ts": ["pg"],
  "memory/import/text.ts": ["marked"],
  "memory/import/html.ts": ["htmlparser2"],
  "memory/import/pdf.ts": ["unpdf"],
  "serve/*": ["hono", "hono/**", "@modelcontextprotocol/**"],
  "serve/server.ts": ["@hono/node-server"],
  "serve/metrics.ts": ["prom-client"],
  "serve/logs.ts": ["pino"],
  "serve/traces.ts": ["@opentelemetry/**"],
  "serve/grammar.ts": ["@mlc-ai/web-xgrammar", "node:module"],
  "serve/summaries/asking.ts": ["jsonrepair"],
  "serve/work/work-file.ts": ["node:sqlite"],
  "serve/engine-child.ts": ["../machine.ts"],
  "cli/*": ["citty", "@clack/prompts", "node:module", "../machine.ts", "../serve/attach/mod.ts"],
};

const places = floors.flatMap((areas, floor) => areas.map((area) => ({ area, floor })));

/** A rule that forbids every import in `includes` but the allowed ones (gitignore patterns, the last match decides). */
function onlyImports(includes, allowed, message) {
  const options = { patterns: [{ group: ["**", ...allowed], message }] };
  return { includes, linter: { rules: { style: { noRestrictedImports: { level: "error", options } } } } };
}

/** What every file of an area may import; `up` leads from the file's folder to src/. */
function allowedIn({ area, floor }, up, isTest) {
  const lower = floors
    .slice(0, floor)
    .flat()
    .filter((name) => !never[area]?.includes(name));
  return [
    "!./*.ts",
    // an area may have folders of its own, one deep
    ...(up === "../" ? ["!./*/*.ts"] : ["!../*.ts", "!../*/*.ts", "../*/mod.ts"]),
    ...lower.map((area) => `!${up}${area}/mod.ts`),
    ...(floor >= 2 || isTest ? ["!node:*", "!node:*/*", "node:sqlite"] : []),
    // The linter does not see what createRequire loads.
    ...(isTest ? [] : ["node:module"]),
    ...(floor >= 2 ? ["!zod"] : []),
    ...(isTest ? ["!fast-check", `!${up}../test/*.ts`] : []),
  ];
}

function areaOverrides(place) {
  const { area, floor } = place;
  const own = Object.keys(thirdParties).filter((file) => file.startsWith(`${area}/`));
  const parties = (file) => (thirdParties[file] ?? []).map((name) => `!${name}`);
  const message =
    `src/${area} is on floor ${floor}: it may import its own files, mod.ts of lower floors` +
    `${floor >= 2 ? ", node:*, zod" : ""} and what scripts/floors.mjs names for the file.`;
  const rule = (includes, up, isTest, file) =>
    onlyImports(includes, [...allowedIn(place, up, isTest), ...parties(`${area}/*`), ...parties(file)], message);
  return [
    rule([`src/${area}/*.ts`], "../", false),
    rule([`src/${area}/*/*.ts`], "../../", false),
    ...own
      .filter((file) => !file.endsWith("*"))
      .map((file) => rule([`src/${file}`], file.split("/").length > 2 ? "../../" : "../", false, file)),
    rule([`src/${area}/*.test.ts`, `src/${area}/*.fixture.ts`], "../", true),
    rule([`src/${area}/*/*.test.ts`, `src/${area}/*/*.fixture.ts`], "../../", true),
  ];
}

const overrides = [
  onlyImports(["src/**"], [], "This folder is no area of the house: name it and its floor in scripts/floors.mjs."),
  onlyImports(
    ["src/*.ts"],
    ["!./*/mod.ts", "!./machine.ts", "!node:*", "!node:*/*"],
    "The root of the package imports mod.ts of areas, and machine.ts.",
  ),
  ...places.flatMap(areaOverrides),
  onlyImports(
    ["web/**"],
    [
      "!./**",
      "!../**",
      "**/src/**",
      "!**/src/*/mod.ts",
      "**/src/cli/**",
      "!vite",
      "!preact",
      "!preact/**",
      "!uplot",
    ].concat("!@observablehq/plot"),
    "web/ is on floor 9: its own files, mod.ts of areas, vite, preact, uPlot and Observable Plot.",
  ),
  onlyImports(
    ["examples/**"],
    ["!node:*", "!node:*/*", "!irori", "!irori/*", "!@modelcontextprotocol/sdk/client/**"],
    "An example imports what the package exports, and a client of MCP.",
  ),
];

const path = new URL("../floors.biome.json", import.meta.url);
const text = `{ "overrides": [\n${overrides.map((override) => JSON.stringify(override)).join(",\n")}\n] }\n`;
if (!process.argv.includes("--check")) writeFileSync(path, text);
else if (readFileSync(path, "utf8") !== text) {
  console.error("floors.biome.json is not what scripts/floors.mjs writes; run: node scripts/floors.mjs");
  process.exitCode = 1;
}
