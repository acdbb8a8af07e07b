// The bench: what its figures say, one short run against llama.cpp, and what it says where the peer cannot come.
// It asserts no speed.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Measured, measured, summary, table } from "../../bench/figures.ts";
import { smollm2Path } from "../setup/smollm2.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-bench-"));
});
after(() => rm(folder, { recursive: true }));

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}
const node = (args: string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> =>
  new Promise((resolve) => {
    execFile(process.execPath, args, { env, maxBuffer: 1e8 }, (error, out, errors) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, errors }),
    );
  });

test("the median of an even number of samples is the mean of the two in the middle", () => {
  assert.deepEqual(summary([4, 1, 3, 2]), { minimum: 1, median: 2.5, maximum: 4, samples: [4, 1, 3, 2] });
});

test("a ratio says how many times better Irori is, whichever way better goes", () => {
  const rate = measured({
    name: "r",
    unit: "tokens/s",
    better: "more",
    wantedRatio: 2,
    samples: { irori: [30, 20], peer: [10, 10] },
  });
  assert.equal(rate.ratio, 2.5);
  assert.equal(rate.ratioOfBest, 3);
  assert.equal(rate.isReached, true);
  const time = measured({
    name: "t",
    unit: "ms",
    better: "less",
    wantedRatio: 3,
    samples: { irori: [10], peer: [20] },
  });
  assert.equal(time.ratio, 2);
  assert.equal(time.isReached, false);
});

test("a bar that needs the peer is neither reached nor missed without it; a limit is judged alone", () => {
  const common = { name: "n", unit: "ms", better: "less" } as const;
  assert.equal(measured({ ...common, wantedRatio: 3, samples: { irori: [1] } }).isReached, undefined);
  const over = measured({ ...common, limit: 20, samples: { irori: [19, 21, 22] } });
  assert.equal(over.isReached, false);
  assert.match(table([over]), /\| n +\| ms +\| 21\.0 \(19\.0–22\.0\) +\| – +\| – +\| ≤ 20\.0 ms missed \|/);
});

test("one round against llama.cpp gives every figure of both sides, their ratio, machine and versions", async () => {
  const model = `file:${await smollm2Path()}`;
  const args = ["bench/run.ts", model, "--against", "llama.cpp", "--json", "--rounds", "1", "--home", folder];
  const { code, out, errors } = await node(args.with(0, join(root, "bench/run.ts")));
  assert.equal(code, 0, errors);
  const report = JSON.parse(out) as {
    figures: Measured[];
    machine: { cpu: string };
    versions: Record<string, string>;
  };
  const both = ["decode", "prefill", "exec to first token", "private memory"];
  for (const name of both) {
    const figure = report.figures.find((one) => one.name === name);
    assert.ok(figure, `${name} is missing`);
    const ours = figure.sides.irori?.median ?? Number.NaN;
    const theirs = figure.sides["llama.cpp"]?.median ?? Number.NaN;
    assert.ok(ours > 0 && theirs > 0, `${name}: ${ours}, ${theirs}`);
    assert.equal(figure.ratio, figure.better === "more" ? ours / theirs : theirs / ours);
  }
  assert.ok(report.machine.cpu.length > 0);
  assert.equal(report.versions["node-llama-cpp"], "3.22.1");
  assert.match(report.versions["llama.cpp"] ?? "", /prebuilt/);
});

test("a peer that cannot be installed is one sentence and exit code 1", async () => {
  const copy = join(folder, "copy");
  await cp(join(root, "bench"), join(copy, "bench"), {
    recursive: true,
    filter: (path) => !/node_modules|\.cache/.test(path.slice(root.length)),
  });
  await symlink(join(root, "src"), join(copy, "src"), "dir");
  const args = [join(copy, "bench/run.ts"), "smollm2-135m", "--against", "llama.cpp", "--home", join(folder, "none")];
  const { code, out, errors } = await node(args, { ...process.env, PATH: folder });
  assert.equal(code, 1);
  assert.equal(out, "");
  assert.match(
    errors.trim().split("\n").at(-1) ?? "",
    /^irori: the peer could not be installed: .*npm.* or run irori bench without --against$/,
  );
});

test("a peer or a figure that does not exist is refused with those that do", async () => {
  const run = join(root, "bench/run.ts");
  const peer = await node([run, "smollm2-135m", "--against", "torch", "--home", folder]);
  assert.equal(peer.code, 1);
  assert.match(peer.errors, /^irori: no such peer: got torch, wanted llama\.cpp\n$/);
  const figure = await node([run, "smollm2-135m", "--only", "speeed", "--home", folder]);
  assert.match(figure.errors, /got speeed, wanted speed, cold, memory, opening, blocked/);
});
