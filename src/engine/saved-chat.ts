// A chat as far as a model has read it, in a file: its tokens, and the keys and values that they left in the KvCache.
// It does not know text or who asks.
import { createHash } from "node:crypto";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint, writeSafetensors } from "../checkpoint/mod.ts";
import type { Config } from "../models/mod.ts";
import { contextOf, type GenerationSetting } from "./generation.ts";
import { KvCache, type KvPart, type KvType } from "./kv-cache.ts";
import type { KvMemory } from "./kv-memory.ts";
import { megabytes } from "./plan.ts";
import { readPrompt } from "./read-prompt.ts";
import { Row } from "./row.ts";

/** What keys and values mean something to. */
export interface ChatModel {
  readonly model: string;
  readonly config: Config;
  /** SHA-256 of the prepared weights. */
  readonly weights: string;
  readonly kvType: KvType;
  /** SHA-256 of what 8-bit integers count in. */
  readonly scales?: string | undefined;
}

export interface SavedChat {
  readonly ids: readonly number[];
  readonly bytes: number;
}

/** The file is one of safetensors: `ids`, and `k.L` and `v.L` [1, G, tokens, K] of each layer. */
const FORMAT = "irori-chat-1";

/** Reads `ids` where nobody has, and writes what was kept of them. Throws "io" with the disk's reason. */
export async function saveChat(
  setting: GenerationSetting,
  path: string,
  of: ChatModel,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<SavedChat> {
  const { memory, batcher } = setting;
  const cache = memory.take(ids, contextOf(setting, ids.length, 1), true);
  using row = new Row(batcher, cache, { signal });
  try {
    await readPrompt(row, memory, ids);
    return await writeChat(path, of, ids, cache);
  } finally {
    memory.give(cache);
  }
}

/** Keeps what was written as if an answer had ended here. Throws "no-room" where so much is not kept. */
export async function restoreChat(memory: KvMemory, path: string, of: ChatModel): Promise<SavedChat> {
  const { parts, ids, bytes } = await readChat(path, of);
  if (!memory.mayKeep(ids.length))
    throw new IroriError("no-room", {
      what: `${path}: ${ids.length.toLocaleString("en")} tokens are more than ${of.model} keeps of answers that ended`,
      got: megabytes(bytes),
      next: "give the engine more keptBytes",
    });
  const cache = memory.take([], ids.length, false);
  cache.put(ids.length, parts);
  memory.give(cache, ids);
  return { ids, bytes };
}

async function writeChat(path: string, of: ChatModel, ids: readonly number[], cache: KvCache): Promise<SavedChat> {
  const parts = cache.parts(ids.length);
  const tensors = { ids: { shape: [ids.length], data: BigInt64Array.from(ids, BigInt) }, ...parts };
  const hash = hashOf(Object.values(tensors).map(({ data }) => data));
  const { weights, kvType, scales = "", model } = of;
  await writeSafetensors(path, tensors, { format: FORMAT, model, weights, kvType, scales, sha256: hash });
  return { ids, bytes: Object.values(tensors).reduce((sum, { data }) => sum + data.byteLength, 0) };
}

interface ReadChat extends SavedChat {
  readonly parts: Readonly<Record<string, KvPart>>;
}

/** Throws "bad-file" where a byte is not as it was written, "bad-input" where another model has read it. */
async function readChat(path: string, of: ChatModel): Promise<ReadChat> {
  await using file = await openCheckpoint(path);
  const { metadata } = file;
  if (metadata.get("format") !== FORMAT)
    throw new IroriError("bad-file", {
      what: `${path} is not a saved chat`,
      got: `the format ${JSON.stringify(metadata.get("format") ?? null)}`,
      wanted: FORMAT,
    });
  const { kvType, weights, scales = "" } = of;
  const differs = (key: string, wanted: string): boolean => metadata.get(key) !== wanted;
  if (differs("weights", weights) || differs("kvType", kvType) || differs("scales", scales))
    throw new IroriError("bad-input", {
      what: `${path} was saved by another model, form or type of KvCache`,
      got: `${metadata.get("model")}, ${metadata.get("kvType")}`,
      wanted: `${of.model} with the same weights, ${kvType}`,
      next: "lease the model as it was when the chat was saved, or read the chat again",
    });
  const damaged = (got: string) =>
    new IroriError("bad-file", { what: `${path}: not as it was written`, got, next: "read the chat again" });
  const length = file.tensors.get("ids")?.shape[0] ?? 0;
  const shapes = KvCache.partShapes(of.config, length);
  const names = ["ids", ...Object.keys(shapes)];
  const missing = names.find((name) => !file.tensors.has(name)) ?? (length === 0 ? "ids" : undefined);
  if (missing !== undefined) throw damaged(`no tensor ${missing}`);
  for (const [name, shape] of Object.entries(shapes))
    if (`${file.tensors.get(name)?.shape}` !== `${shape}`) throw damaged(`${name} of another shape`);
  const read: Record<string, Uint8Array<ArrayBuffer>> = {};
  for (const name of names) read[name] = await file.read(name);
  if (hashOf(Object.values(read)) !== metadata.get("sha256")) throw damaged("other bytes");
  const array = kvType === "int8" ? Int8Array : Float32Array;
  const parts: Record<string, KvPart> = {};
  for (const [name, shape] of Object.entries(shapes))
    parts[name] = { shape, data: new array((read[name] as Uint8Array<ArrayBuffer>).buffer) };
  const ids = Array.from(new BigInt64Array((read.ids as Uint8Array<ArrayBuffer>).buffer), Number);
  return { ids, parts, bytes: Object.values(read).reduce((sum, { byteLength }) => sum + byteLength, 0) };
}

function hashOf(
  arrays: readonly { readonly buffer: ArrayBufferLike; readonly byteOffset: number; readonly byteLength: number }[],
): string {
  const hash = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of arrays) hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest("hex");
}
