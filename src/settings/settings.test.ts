// Who decides what a setting is: flag before environment before file before preset before default; what is not known is an
// error with the nearest name; the file changes a key at a time.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { changeSettingsFile, readSettingsFile } from "./file.ts";
import { type Flag, settingOf, settingsInForce } from "./in-force.ts";
import { presetNames } from "./presets.ts";
import { providerNamed } from "./provider.ts";
import { settingKeys, variableOf } from "./settings.ts";

const home = mkdtempSync(join(tmpdir(), "irori-settings-"));
after(() => rmSync(home, { recursive: true, force: true }));
const path = join(home, "settings.json");
const machine = { home, threads: 2 };
const flag = (key: string, value: unknown): Flag => ({ key, value, from: `--${key}` });
let count = 0;
function filed(content: unknown): string {
  const file = join(home, `${count++}.json`);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

/** Each layer above the one before it. */
const layers: readonly (readonly [
  string,
  Partial<Parameters<typeof settingsInForce>[0]>,
  unknown,
  string | undefined,
])[] = [
  ["default", {}, 10, undefined],
  ["preset", { env: { IRORI_PRESET: "quick_experiment" } }, 5, "quick_experiment"],
  ["file", { file: filed({ preset: "quick_experiment", memory: { recallCount: 7 } }) }, 7, "0.json"],
  ["env", { env: { IRORI_MEMORY_RECALL_COUNT: "8" } }, 8, "IRORI_MEMORY_RECALL_COUNT"],
  ["flag", { flags: [flag("memory.recallCount", "9"), flag("memory.recallCount", 11)] }, 11, "--memory.recallCount"],
];
for (const [i, [source, , value, from]] of layers.entries())
  test(`a value of ${source} stands above all that come before`, () => {
    const given = Object.assign({ env: {}, machine }, ...layers.slice(0, i + 1).map(([, sources]) => sources));
    const { settings, all } = settingsInForce(given);
    assert.equal(settings.memory.recallCount, value);
    const found = all.find(({ key }) => key === "memory.recallCount");
    assert.equal(found?.source, source);
    assert.ok(from === undefined ? found?.from === undefined : found?.from?.endsWith(from), found?.from);
  });

test("every setting has a variable of its own, a default that it may have, and is told by each preset", () => {
  assert.equal(new Set(settingKeys.map(variableOf)).size, settingKeys.length);
  assert.equal(variableOf("memory.recallCount"), "IRORI_MEMORY_RECALL_COUNT");
  assert.equal(variableOf("int8Prompts"), "IRORI_INT8_PROMPTS");
  for (const preset of presetNames) {
    const { all, settings } = settingsInForce({ env: {}, machine, flags: [flag("preset", preset)] });
    assert.deepEqual(
      all.map(({ key }) => key),
      settingKeys,
    );
    for (const { key, value } of all) assert.deepEqual(settingOf(key).rule.parse(value, key), value);
    assert.equal(settings.preset, preset);
  }
});

test("quick_experiment needs no model; local needs two; the lab wants them in float32 too; what stands in for one needs none", () => {
  const needs = (...flags: Flag[]) => settingsInForce({ env: {}, machine, flags }).models;
  assert.deepEqual(needs(flag("preset", "quick_experiment")), []);
  assert.deepEqual(needs(), [
    { model: "smollm2-135m", use: "generator", forms: ["served"] },
    { model: "all-minilm-l6-v2", use: "embedder", forms: ["served"] },
  ]);
  assert.deepEqual(
    needs(flag("preset", "lab")).map(({ forms }) => forms),
    [
      ["f32", "served"],
      ["f32", "served"],
    ],
  );
  assert.deepEqual(
    needs(flag("generator", "http://127.0.0.1:1/v1#m"), flag("form", "int8")).map(({ model, forms }) => [model, forms]),
    [["all-minilm-l6-v2", ["served"]]],
  );
});

test("texts of the environment stand for values; an empty variable says nothing; variables that are no settings are told", () => {
  const env = {
    IRORI_OFFLINE: "1",
    IRORI_SPIN: "no",
    IRORI_PYTHON: "",
    IRORI_MEMORY_RELATED: "null",
    IRORI_THREDS: "4",
  };
  const { settings, strangers } = settingsInForce({ env, machine });
  assert.deepEqual(
    [settings.offline, settings.spin, settings.python, settings.memory.related, settings.threads],
    [true, false, null, null, 2],
  );
  assert.deepEqual(strangers, [{ name: "IRORI_THREDS", near: "IRORI_THREADS" }]);
});

const refused: Readonly<Record<string, readonly [Partial<Parameters<typeof settingsInForce>[0]>, string, RegExp]>> = {
  "an unknown key of the file": [{ file: filed({ threds: 2 }) }, "bad-input", /"threds"; perhaps threads is meant/],
  "one of a section": [{ file: filed({ memory: { recalCount: 2 } }) }, "bad-input", /perhaps memory.recallCount/],
  "one of a provider": [
    { file: filed({ providers: { a: { url: "http://a", modl: "b" } } }) },
    "bad-input",
    /perhaps model/,
  ],
  "an unknown flag": [{ flags: [flag("presett", "lab")] }, "bad-input", /perhaps preset is meant/],
  "a section that is no object": [{ file: filed({ memory: 3 }) }, "bad-input", /"memory"/],
  "a text for a number in the file": [
    { file: filed({ threads: "2" }) },
    "bad-input",
    /json: threads: got "2", wanted a whole/,
  ],
  "a number out of range": [
    { env: { IRORI_THREADS: "0" } },
    "bad-input",
    /IRORI_THREADS: threads: got 0, wanted .* 1 to 1024/,
  ],
  "a number that is none": [{ env: { IRORI_THREADS: "two" } }, "bad-input", /got "two"/],
  "an unknown preset": [{ env: { IRORI_PRESET: "x" } }, "bad-input", /got "x", wanted quick_experiment, local/],
  "home in the file": [{ file: filed({ home: "/x" }) }, "bad-input", /set IRORI_HOME/],
  "a file that is no JSON": [{ file: filed('{ "threads": 2,') }, "bad-file", /is no JSON/],
  "a file that is a list": [{ file: filed([1]) }, "bad-file", /wanted an object/],
  "a file that is not there": [{ file: join(home, "none.json") }, "not-found", /none\.json/],
  "one that a variable names": [{ env: { IRORI_SETTINGS: join(home, "none.json") } }, "not-found", /none\.json/],
  "a server without http": [
    { file: filed({ providers: { a: { url: "a", model: "b" } } }) },
    "bad-input",
    /a\.url.*http/,
  ],
  "a script without answers": [
    { file: filed({ providers: { a: { answers: [] } } }) },
    "bad-input",
    /one answer or more/,
  ],
};
for (const [name, [sources, code, says]] of Object.entries(refused))
  test(`${name} is refused with a sentence`, () => {
    assert.throws(() => settingsInForce({ env: {}, machine, ...sources }), { code, message: says });
  });

test("names of providers: mocks, hashed, servers by address or by a name of one's own, else a model of this machine", () => {
  const providers = { gpu: { url: "http://g/v1", model: "m", retries: 2 }, script: { answers: ["a", "b"] } };
  assert.deepEqual(providerNamed("mock:echo"), { kind: "mock" });
  assert.equal(providerNamed("mock").kind, "mock");
  assert.deepEqual(providerNamed("hashed"), { kind: "hashed" });
  assert.deepEqual(providerNamed("gpu", providers), { kind: "server", ...providers.gpu });
  assert.deepEqual(providerNamed("script", providers), { kind: "mock", answers: ["a", "b"] });
  const named = providerNamed("http://127.0.0.1:8080/v1#qwen%202");
  assert.deepEqual(named, { kind: "server", url: "http://127.0.0.1:8080/v1", model: "qwen 2" });
  assert.deepEqual(providerNamed("smollm2-135m"), { kind: "local", model: "smollm2-135m" });
  assert.deepEqual(providerNamed("constructor", providers), { kind: "local", model: "constructor" });
  assert.throws(() => providerNamed("mock:ecko"), /perhaps mock:echo is meant/);
  assert.throws(() => providerNamed("http://127.0.0.1:8080/v1"), /wanted http:\/\/HOST:PORT\/v1#MODEL/);
});

test("the file changes a key at a time, the others stay, and nothing else lies beside it", () => {
  const change = (at: string[], value: unknown) => changeSettingsFile(readSettingsFile(path, false), at, value);
  assert.equal(change(["threads"], 4), false);
  assert.equal(change(["memory", "recallCount"], 3), false);
  assert.equal(change(["memory", "recallCount"], 5), true);
  assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), { threads: 4, memory: { recallCount: 5 } });
  assert.equal(settingsInForce({ env: {}, machine }).settings.memory.recallCount, 5);
  assert.equal(change(["memory", "recallCount"], undefined), true);
  assert.equal(change(["memory", "recallCount"], undefined), false);
  assert.equal(readFileSync(path, "utf8"), '{\n  "threads": 4\n}\n');
  assert.deepEqual(
    readdirSync(home).filter((name) => name.includes("part")),
    [],
  );
});
