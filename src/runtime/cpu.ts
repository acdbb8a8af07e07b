// A short stable text that names the CPU features on which ONNX Runtime chooses its kernels.
// Prepacked pages are keyed by it. It does not know which kernel is chosen for what.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** First flag of each group that the CPU has, in this order (what MLAS, ONNX Runtime's kernel library, asks for). */
const groups: readonly (readonly [name: string, needs: readonly string[]])[][] = [
  [
    ["avx512", ["avx512f", "avx512bw", "avx512dq", "avx512vl"]],
    ["avx2", ["avx2", "fma"]],
    ["avx", ["avx"]],
    ["sve2", ["sve2"]],
    ["sve", ["sve"]],
    ["neon", ["asimd"]],
  ],
  [
    ["vnni", ["avx512_vnni"]],
    ["dot", ["asimddp"]],
  ],
  [
    ["avxvnni", ["avx_vnni"]],
    ["i8mm", ["i8mm"]],
  ],
  [
    ["amx", ["amx_tile", "amx_int8"]],
    ["sme2", ["sme2"]],
    ["sme", ["sme"]],
  ],
  [
    ["fp16", ["fphp", "asimdhp"]],
    ["f16c", ["f16c"]],
  ],
  [["bf16", ["bf16"]]],
];

/** For example "x64-avx512-vnni-avxvnni-amx-f16c". */
export function instructionSet(): string {
  if (process.platform === "linux") return nameFlags(process.arch, readFileSync("/proc/cpuinfo", "utf8"));
  // Other systems do not list flags in a file; the model name decides them, so it stands for them.
  const model = cpus()[0]?.model ?? "unknown";
  return `${process.arch}-${model
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")}`;
}

/** The text for the contents of /proc/cpuinfo. */
export function nameFlags(arch: string, cpuinfo: string): string {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "";
  const flags = new Set(line.trim().split(/\s+/));
  const found = groups.flatMap((group) => group.find(([, needs]) => needs.every((flag) => flags.has(flag)))?.[0] ?? []);
  return [arch, ...found].join("-");
}
