// What deploy/ says against what there is: metrics of the dashboard, options of the unit and of the container.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bin } from "./setup/command.ts";
import { usedMetrics } from "./setup/metrics-used.ts";

const fileOf = (name: string): string => fileURLToPath(new URL(`../deploy/${name}`, import.meta.url));
const read = (name: string): string => readFileSync(fileOf(name), "utf8");

test("check 23: every metric of the dashboard is one that the server tells with those labels, and every family is shown", async () => {
  const text = await usedMetrics();
  const families = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", type = ""]) => ({ name, type }));
  const samples = new Set([...text.matchAll(/^(\w+)(?=[ {])/gm)].map(([, name]) => name));
  const dashboard = JSON.parse(read("grafana.json")) as { panels: { title: string; targets: { expr: string }[] }[] };
  const all = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  for (const expr of all) {
    for (const [name] of expr.matchAll(/irori_\w+/g)) assert.ok(samples.has(name), `${name} of ${expr} has no sample`);
    for (const [, labels = ""] of expr.matchAll(/by \(([^)]+)\)/g))
      for (const label of labels.split(", ")) {
        const [metric] = /irori_\w+/.exec(expr) ?? [];
        assert.match(text, new RegExp(`^${metric}\\{[^}]*\\b${label}="`, "m"), `${metric} has no label ${label}`);
      }
  }
  const shown = all.join(" ");
  const unseen = families.filter(({ name }) => !shown.includes(name)).map(({ name }) => name);
  assert.deepEqual(unseen, ["irori_e2e_request_latency_seconds", "irori_model_load_seconds"]);
});

const optionsOf = (line: string): string[] => [...line.matchAll(/--[a-z][a-z-]*/g)].map(([option]) => option);

test("the unit and the container start `irori serve` with options that it has", (t) => {
  const help = spawnSync(process.execPath, [bin, "serve", "--help"], { encoding: "utf8" }).stdout;
  const started = /^ExecStart=(.*)$/m.exec(read("irori.service"))?.[1] ?? "";
  const run = /^CMD (.*)$/m.exec(read("Containerfile"))?.[1] ?? "";
  assert.match(started, /irori serve /);
  assert.equal((JSON.parse(run) as string[])[0], "serve");
  for (const option of [...optionsOf(started), ...optionsOf(run)]) assert.ok(help.includes(option), option);
  const verified = spawnSync("systemd-analyze", ["verify", "--man=no", fileOf("irori.service")], { encoding: "utf8" });
  if (verified.error !== undefined)
    return t.diagnostic("systemd-analyze is not here: the unit's form was not verified");
  const said = verified.stderr.split("\n").filter((line) => line.includes("irori.service"));
  assert.deepEqual(
    said.filter((line) => !/is not executable|Failed to (create|prepare)/.test(line)), // no irori is installed here
    [],
  );
});
