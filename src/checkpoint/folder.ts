// A folder in the Hugging Face layout: which files hold the weights, and its config.json.
// It opens no weights; an index may only name files that lie in the folder itself.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { diskCall } from "./model-file.ts";
import { printable, quoted } from "./quoted.ts";

export interface WeightFiles {
  readonly files: readonly string[];
  /** What the index promises: file name of each tensor. */
  readonly named: ReadonlyMap<string, string> | undefined;
}

const single = "model.safetensors";
const indexName = "model.safetensors.index.json";
const indexShape = z.object({ weight_map: z.record(z.string(), z.string()) });

/** model.safetensors, else the index's shards, else the only weight file there is. */
export async function weightFilesOf(folder: string): Promise<WeightFiles> {
  const names = await diskCall(folder, () => readdir(folder));
  if (names.includes(single)) return { files: [join(folder, single)], named: undefined };
  if (names.includes(indexName)) return await readIndex(folder, names);
  const weights = names.filter((name) => /\.(gguf|safetensors)$/i.test(name)).sort();
  if (weights.length === 1) return { files: [join(folder, weights[0]!)], named: undefined };
  if (weights.length > 1) {
    const got = `${weights.slice(0, 5).join(", ")}${weights.length > 5 ? " …" : ""}`;
    const next = "name the file instead of the folder";
    throw new IroriError("bad-input", { what: `${folder}: several weight files`, got, wanted: "one", next });
  }
  const pickles = names.filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickles.length > 0) {
    const next = "convert it to safetensors: a pickle can execute code and is never opened";
    throw new IroriError("unsupported", { what: `${folder}: only ${pickles[0]}, a PyTorch pickle`, next });
  }
  const wanted = `${single}, ${indexName} or one .gguf file`;
  throw new IroriError("not-found", {
    what: `${folder}: no weights in this folder`,
    got: `${names.length} files`,
    wanted,
  });
}

async function readIndex(folder: string, names: readonly string[]): Promise<WeightFiles> {
  const path = join(folder, indexName);
  const result = indexShape.safeParse(parseJson(path, await diskCall(path, () => readFile(path))).value);
  if (!result.success) {
    const issue = result.error.issues[0];
    const what = `${path}: ${quoted(issue?.path.join(".") ?? "")}`;
    throw new IroriError("bad-file", {
      what,
      got: printable(issue?.message ?? ""),
      wanted: "weight_map: tensor to file",
      cause: result.error,
    });
  }
  const named = new Map(Object.entries(result.data.weight_map));
  const shards = [...new Set(named.values())].sort();
  if (shards.length === 0)
    throw new IroriError("bad-file", { what: `${path}: weight_map`, got: "no files", wanted: "files" });
  for (const shard of shards) {
    if (shard.includes("/") || shard.includes("\\") || shard.startsWith(".")) {
      const got = quoted(shard);
      throw new IroriError("bad-file", { what: `${path}: a shard`, got, wanted: "a file name in this folder" });
    }
    if (!names.includes(shard)) {
      const next = "fetch the model again";
      throw new IroriError("not-found", {
        what: `${folder}: shard ${quoted(shard)}, which the index names, is missing`,
        next,
      });
    }
  }
  return { files: shards.map((shard) => join(folder, shard)), named };
}

/** config.json of the folder, or undefined where there is none. */
export async function readConfig(folder: string): Promise<unknown> {
  const path = join(folder, "config.json");
  let bytes: Uint8Array;
  try {
    bytes = await diskCall(path, () => readFile(path));
  } catch (error) {
    if (error instanceof IroriError && error.code === "not-found") return undefined;
    throw error;
  }
  return parseJson(path, bytes).value;
}
