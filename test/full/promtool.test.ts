// Check 23: Prometheus' own linter reads /metrics and the configuration of deploy/. promtool is the PATH's, or that of Debian's package,
// unpacked into .cache.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { usedMetrics } from "../setup/metrics-used.ts";

const folder = fileURLToPath(new URL("../../.cache/promtool", import.meta.url));
const deploy = fileURLToPath(new URL("../../deploy", import.meta.url));

/** The program, or why there is none. */
function promtool(): { readonly program: string } | { readonly lacks: string } {
  if (spawnSync("promtool", ["--version"]).status === 0) return { program: "promtool" };
  const program = join(folder, "x", "usr", "bin", "promtool");
  if (existsSync(program)) return { program };
  mkdirSync(folder, { recursive: true });
  const got = spawnSync("apt-get", ["download", "prometheus"], { cwd: folder, encoding: "utf8", timeout: 120_000 });
  const file = readdirSync(folder).find((name) => name.endsWith(".deb"));
  if (file === undefined)
    return {
      lacks: `no promtool, and Debian's package prometheus is not to be had: ${got.error?.message ?? got.stderr}`,
    };
  const unpacked = spawnSync("dpkg-deb", ["-x", file, "x"], { cwd: folder, encoding: "utf8" });
  return existsSync(program) ? { program } : { lacks: `the package has no promtool: ${unpacked.stderr}` };
}

test("check 23: promtool finds nothing in /metrics after traffic of every kind", async (t) => {
  const found = promtool();
  if ("lacks" in found) return t.skip(found.lacks);
  const input = await usedMetrics();
  const { status, stdout, stderr } = spawnSync(found.program, ["check", "metrics"], { input, encoding: "utf8" });
  assert.deepEqual([status, stdout, stderr], [0, "", ""]);
  const config = spawnSync(found.program, ["check", "config", join(deploy, "prometheus.yml")], { encoding: "utf8" });
  assert.equal(config.status, 0, config.stdout + config.stderr);
});
