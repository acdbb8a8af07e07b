// The machine and the versions that figures belong to. It measures nothing.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { findLibrary } from "../src/runtime/mod.ts";

/** CPU features that decide which kernels either side runs. */
const FLAGS = /^(avx|avx2|fma|f16c|avx_vnni|avx512(f|bw|vl|dq|_vnni|_bf16|_fp16|vbmi)|amx_(int8|bf16|tile))$/;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly flags: readonly string[];
  readonly memoryBytes: number;
  readonly system: string;
}

export function machine(): Machine {
  const isLinux = platform() === "linux";
  const info = isLinux ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const all = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1]?.split(" ") ?? [];
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    flags: all.filter((flag) => FLAGS.test(flag)),
    memoryBytes: totalmem(),
    system: `${platform()} ${arch()} ${release()}`,
  };
}

export function ownVersions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const version = (path: string) => (require(path) as { version: string }).version;
  // the library's own version is the folder it came from: its package
  return {
    irori: version("../package.json"),
    node: process.version,
    "onnxruntime-node": version("onnxruntime-node/package.json"),
    library: findLibrary().replace(/^.*node_modules\//, ""),
  };
}
