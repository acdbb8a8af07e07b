// A checkpoint of any format: named tensors, metadata, and their bytes on demand.
// Which format a file has is decided by its first bytes. It does not know families, sources or the prepared form.

import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { BlockType } from "./block-type.ts";
import { blockTypes } from "./block-types.ts";
import type { MetadataValue } from "./gguf-metadata.ts";
import { diskCall, ModelFile, roomFor } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import type { Header, TensorInfo } from "./tensor-info.ts";

export interface Checkpoint extends AsyncDisposable {
  readonly format: "gguf" | "safetensors";
  readonly files: readonly string[];
  /** GGUF's key-values; safetensors' `__metadata__`. */
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** The parsed config.json of the folder, or beside a .safetensors file; undefined where there is none. */
  readonly config: unknown;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** How a tensor's blocks are coded. */
  typeOf(name: string): BlockType;
  /** A tensor's bytes as they are in the file, in memory of their own. */
  read(name: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Fills `target` with a tensor's bytes from `offset` on. */
  readPart(name: string, offset: number, target: Uint8Array): Promise<void>;
  /** A tensor's values as float32: quantised types dequantised, wider numbers rounded. */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
}

/** Opens a .gguf or .safetensors file, or a folder in the Hugging Face layout. Errors: not-found, bad-file, unsupported. */
export async function openFiles(path: string): Promise<Checkpoint> {
  const isFolder = (await diskCall(path, () => stat(path))).isDirectory();
  // the formats and their schemas load when a checkpoint is opened: a prepared model opens without them
  const { readConfig, weightFilesOf } = await import("./folder.ts");
  const weights = isFolder ? await weightFilesOf(path) : { files: [path], named: undefined };
  await using opened = new AsyncDisposableStack();
  const parts: Part[] = [];
  for (const name of weights.files) parts.push(await openPart(opened.use(await ModelFile.open(name))));
  // A GGUF file carries its own configuration: what lies beside it in some download folder is not about it.
  const hasConfig = isFolder || parts.some((part) => part.format === "safetensors");
  const config = hasConfig ? await readConfig(isFolder ? path : dirname(path)) : undefined;
  const merged = merge(path, parts);
  for (const [name, file] of weights.named ?? []) {
    if (merged.tensors.get(name)?.file === join(path, file)) continue;
    const what = `${path}: the index says that ${file} holds tensor ${quoted(name)}, which it does not`;
    throw new IroriError("bad-file", { what, next: "fetch the model again" });
  }
  return new FileCheckpoint(parts, merged, config, opened.move());
}

type Format = Checkpoint["format"];

interface Part extends Header {
  readonly file: ModelFile;
  readonly format: Format;
}

async function openPart(file: ModelFile): Promise<Part> {
  const format = await formatOf(file);
  const header =
    format === "gguf"
      ? await (await import("./gguf.ts")).readGgufHeader(file)
      : await (await import("./safetensors.ts")).readSafetensorsHeader(file);
  return { ...header, file, format };
}

/** First bytes of things that are often found in a model's place. */
const strangers: readonly (readonly [start: string, is: string])[] = [
  ["PK", "a zip archive or a PyTorch pickle, which is never opened because it can execute code"],
  ["\x80\x02", "a Python pickle, which is never opened because it can execute code"],
  ["version https://git-lfs", "a Git LFS pointer instead of the file"],
  ["<", "a web page instead of the file"],
  ["ggml", "a file of the format before GGUF"],
  ["lmgg", "a file of the format before GGUF"],
  ["tjgg", "a file of the format before GGUF"],
];

async function formatOf(file: ModelFile): Promise<Format> {
  const bytes = await file.read(0, Math.min(32, file.size));
  const start = Buffer.from(bytes).toString("latin1");
  if (start.startsWith("GGUF")) return "gguf";
  if (start[8] === "{") return "safetensors"; // after the eight bytes of the header's length
  const stranger = strangers.find(([prefix]) => start.startsWith(prefix));
  const got = stranger ? stranger[1] : bytes.length < 9 ? `${bytes.length} bytes` : `first bytes ${quoted(start, 12)}`;
  const wanted = "a GGUF or safetensors file";
  throw new IroriError("bad-file", { what: `${file.path}: not a model file`, got, wanted, next: "fetch it again" });
}

function merge(path: string, parts: readonly Part[]): Header {
  const metadata = new Map<string, MetadataValue>();
  const tensors = new Map<string, TensorInfo>();
  for (const part of parts) {
    for (const [key, value] of part.metadata) metadata.set(key, value);
    for (const [name, tensor] of part.tensors) {
      const other = tensors.get(name);
      const what = `${path}: tensor ${quoted(name)} is in ${other?.file} and in ${tensor.file}`;
      if (other) throw new IroriError("bad-file", { what, next: "fetch the model again" });
      tensors.set(name, tensor);
    }
  }
  return { metadata, tensors };
}

const chunkBytes = 4 << 20; // of file bytes, when values are converted: the rest of a tensor is never held twice

class FileCheckpoint implements Checkpoint {
  readonly format: Format;
  readonly files: readonly string[];
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly config: unknown;
  private readonly byPath: ReadonlyMap<string, ModelFile>;
  private readonly opened: AsyncDisposableStack;

  constructor(parts: readonly Part[], { metadata, tensors }: Header, config: unknown, opened: AsyncDisposableStack) {
    this.format = parts[0]!.format;
    this.files = parts.map((part) => part.file.path);
    this.metadata = metadata;
    this.tensors = tensors;
    this.config = config;
    this.byPath = new Map(parts.map((part) => [part.file.path, part.file]));
    this.opened = opened;
  }

  typeOf(name: string): BlockType {
    return this.find(name).type;
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { tensor, file } = this.find(name);
    return await file.read(tensor.offset, tensor.byteLength);
  }

  async readPart(name: string, offset: number, target: Uint8Array): Promise<void> {
    const { tensor, file } = this.find(name);
    if (offset >= 0 && offset + target.length <= tensor.byteLength)
      return await file.readInto(target, tensor.offset + offset);
    const got = `bytes ${offset} to ${offset + target.length}`;
    throw new IroriError("bad-input", {
      what: `a part of tensor ${quoted(name)}`,
      got,
      wanted: `up to ${tensor.byteLength}`,
    });
  }

  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { tensor, type, file } = this.find(name);
    const elements = (tensor.byteLength / type.blockBytes) * type.blockSize;
    const values = roomFor(`${file.path}: tensor ${quoted(name)}`, () => new Float32Array(elements));
    if (type.name === "F32") {
      await file.readInto(new Uint8Array(values.buffer), tensor.offset); // no conversion, no copy
      return values;
    }
    const blocks = Math.max(1, Math.floor(chunkBytes / type.blockBytes));
    const chunk = new Uint8Array(Math.min(tensor.byteLength, blocks * type.blockBytes));
    for (let at = 0, to = 0; at < tensor.byteLength; at += chunk.length) {
      const source = chunk.subarray(0, Math.min(chunk.length, tensor.byteLength - at));
      await file.readInto(source, tensor.offset + at);
      const count = (source.length / type.blockBytes) * type.blockSize;
      type.dequantize(source, values.subarray(to, to + count));
      to += count;
    }
    return values;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.opened.disposeAsync();
  }

  private find(name: string): { tensor: TensorInfo; type: BlockType; file: ModelFile } {
    const tensor = this.tensors.get(name);
    if (tensor) return { tensor, type: blockTypes.get(tensor.type)!, file: this.byPath.get(tensor.file)! };
    const what = `${this.files[0]}: no tensor ${quoted(name)} among its ${this.tensors.size}`;
    throw new IroriError("not-found", {
      what,
      next: `it has ${[...this.tensors.keys()]
        .slice(0, 3)
        .map((name) => quoted(name))
        .join(", ")} …`,
    });
  }
}
