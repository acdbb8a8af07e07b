// Where ONNX Runtime's shared library lies for this platform.
// It resolves paths only: nothing of onnxruntime-node's JavaScript is run, since that would load its own binding.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { IroriError } from "../base/mod.ts";

const fileNames: Readonly<Record<string, string>> = {
  "linux/x64": "libonnxruntime.so.1",
  "linux/arm64": "libonnxruntime.so.1",
  "darwin/arm64": "libonnxruntime.1.dylib",
  "win32/x64": "onnxruntime.dll",
  "win32/arm64": "onnxruntime.dll",
};

export interface Platform {
  readonly os: string;
  readonly arch: string;
}

/** The library's path, checked to exist. `libraryPath` goes before the package's own library. */
export function findLibrary(libraryPath?: string, platform: Platform = here()): string {
  if (libraryPath !== undefined) {
    if (existsSync(libraryPath)) return libraryPath;
    throw new IroriError("library", {
      what: `there is no ONNX Runtime library at ${libraryPath}`,
      next: "correct libraryPath, or leave it out to use the library of onnxruntime-node",
    });
  }
  const target = `${platform.os}/${platform.arch}`;
  const fileName = fileNames[target];
  if (fileName === undefined) {
    throw new IroriError("library", {
      what: "onnxruntime-node has no library for this platform",
      got: target,
      wanted: `one of ${Object.keys(fileNames).join(", ")}`,
      next: "build ONNX Runtime for it and set libraryPath",
    });
  }
  const path = join(packageFolder(), "bin", "napi-v6", platform.os, platform.arch, fileName);
  if (existsSync(path)) return path;
  throw new IroriError("library", {
    what: `onnxruntime-node is installed without its library for ${target}: ${path} is missing`,
    next: "run: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0",
  });
}

function packageFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  } catch (cause) {
    throw new IroriError("library", {
      what: "the package onnxruntime-node is not installed",
      next: "run: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0",
      cause,
    });
  }
}

function here(): Platform {
  return { os: process.platform, arch: process.arch };
}
