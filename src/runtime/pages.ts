// Prepacked weight pages: reads what the library saved and writes one file that many Programs map.
// It does not know which graph the weights belong to, nor where the file finally lies.

import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { cancelled, IroriError } from "../base/mod.ts";
import { type DType, dtypeOf } from "./tensor.ts";

export interface ExternalEntry {
  readonly key: string;
  readonly value: string;
}

/** An initializer whose bytes lie in a file. `externalData` goes into the initializer of any graph as it is. */
export interface PageEntries {
  readonly dims: readonly number[];
  readonly dtype: DType;
  readonly externalData: readonly ExternalEntry[];
}

/** What the library saved of a Program's weights (`savePrepackedTo`). */
export interface SavedWeights {
  /** The bytes of the saved optimised model. */
  readonly model: Uint8Array;
  /** Its data file. */
  readonly dataFile: string;
}

type Edit = (block: Uint8Array) => void;

export interface CopyOptions {
  /** Initializers that are wanted. Default: all. */
  readonly keep?: (name: string) => boolean;
  /** What changes the prepacked blocks of an initializer before they are written; those that nothing changes are never held whole. */
  readonly edit?: (name: string) => Edit | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Kernels find their tables inside a prepacked block by its address modulo 64: a block mapped at another remainder
 * gives wrong numbers or a crash, and the library's own saved file places them anywhere. Whole pages are safe.
 */
const pageBytes = 4096;

/** The initializers of an ONNX model that lie in external files, by name. Throws "bad-file" where it is cut. */
export function readPrepackedEntries(model: Uint8Array): Map<string, PageEntries> {
  const found = new Map<string, PageEntries>();
  for (const [field, graph] of fields(model)) {
    if (field !== 7 || !(graph instanceof Uint8Array)) continue;
    for (const [inner, tensor] of fields(graph)) {
      if (inner !== 5 || !(tensor instanceof Uint8Array)) continue;
      const [name, entries] = readInitializer(tensor);
      if (entries) found.set(name, entries);
    }
  }
  return found;
}

/**
 * One file of weights and prepacked blocks, each at a page of its own, copied from what Programs saved. The raw weights
 * stay: opening packs them once more to compare their hash, then uses the mapped block and drops its own. Another CPU's
 * hash does not match: then results are right and memory is private.
 */
export class PagesWriter implements AsyncDisposable {
  readonly #target: FileHandle;
  readonly #location: string;
  readonly #hash = createHash("sha256");
  readonly #chunk = Buffer.alloc(4 * 1024 * 1024);
  #bytes = 0;

  private constructor(target: FileHandle, location: string) {
    this.#target = target;
    this.#location = location;
  }

  /**
   * @param path the file to write; an existing one is replaced
   * @param location the file's name for the entries, relative to `weightsFolder`
   */
  static async create(path: string, location: string = basename(path)): Promise<PagesWriter> {
    return new PagesWriter(await open(path, "w"), location);
  }

  /** Copies what one Program saved; where its initializers lie now. Throws "bad-file" where it is cut. */
  async copy({ model, dataFile }: SavedWeights, options: CopyOptions = {}): Promise<Map<string, PageEntries>> {
    const { keep = () => true, edit, signal } = options;
    await using file = await open(dataFile, "r");
    const source: Source = { path: dataFile, file, size: (await file.stat()).size };
    const initializers = new Map<string, PageEntries>();
    for (const [name, { dims, dtype, externalData }] of readPrepackedEntries(model)) {
      if (signal?.aborted) throw cancelled("packing", signal);
      if (!keep(name)) continue;
      const entries: ExternalEntry[] = [{ key: "location", value: this.#location }];
      const values = new Map(externalData.map(({ key, value }) => [key, value]));
      const length = values.get("length") ?? "";
      const offset = await this.#block(source, name, values.get("offset") ?? "0", length);
      entries.push({ key: "offset", value: String(offset) }, { key: "length", value: length });
      for (const { key, value } of externalData)
        if (key.startsWith("prepacked_"))
          entries.push({ key, value: await this.#prepacked(source, name, value, edit?.(name)) });
      initializers.set(name, { dims, dtype, externalData: entries });
    }
    return initializers;
  }

  /** Makes the file durable; its size and the hash of what is in it. */
  async finish(): Promise<{ readonly bytes: number; readonly sha256: string }> {
    await this.#target.sync();
    return { bytes: this.#bytes, sha256: this.#hash.digest("hex") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#target.close();
  }

  /** "MatMulNBits+1303…|442368;663678;0": kernel and hash of the packed bytes, then offset;length;checksum of each block. */
  async #prepacked(source: Source, name: string, value: string, edit: Edit | undefined): Promise<string> {
    const [kernel, ...blocks] = value.split("|");
    if (blocks.length === 0) throw badFile(`the prepacked entry of ${name} has no blocks`, value);
    const moved: string[] = [];
    for (const block of blocks) {
      const [offset = "", length = "", ...rest] = block.split(";");
      moved.push([await this.#block(source, name, offset, length, edit), length, ...rest].join(";"));
    }
    return [kernel, ...moved].join("|");
  }

  /** Copies one block to the next page and returns its offset there. */
  async #block(source: Source, name: string, offsetText: string, lengthText: string, edit?: Edit): Promise<number> {
    const [from, length] = [wholeNumber(name, offsetText), wholeNumber(name, lengthText)];
    if (from + length > source.size)
      throw badFile(`${source.path} ends before the weights of ${name}`, source.size, `${from + length} bytes`);
    const padding = -this.#bytes & (pageBytes - 1);
    if (padding) await this.#append(Buffer.alloc(padding));
    const at = this.#bytes;
    const chunkBytes = edit === undefined ? this.#chunk.length : length;
    for (let done = 0; done < length; done += chunkBytes) {
      const chunk = await this.#read(source, from + done, Math.min(chunkBytes, length - done));
      edit?.(chunk);
      await this.#append(chunk);
    }
    return at;
  }

  async #read({ path, file }: Source, from: number, length: number): Promise<Uint8Array> {
    const chunk = length > this.#chunk.length ? Buffer.alloc(length) : this.#chunk.subarray(0, length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(chunk, done, length - done, from + done);
      if (bytesRead === 0) throw badFile(`${path} was cut while it was read`, from + done, `${from + length} bytes`);
      done += bytesRead;
    }
    return chunk;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#target.write(bytes, done, bytes.length - done, this.#bytes + done);
      done += bytesWritten;
    }
    this.#bytes += bytes.length;
  }
}

/** A data file that is copied from. */
interface Source {
  readonly path: string;
  readonly file: FileHandle;
  readonly size: number;
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw badFile(`an offset or length of ${name} is not a whole number`, JSON.stringify(text));
}

const utf8 = new TextDecoder();

/** TensorProto: dims 1, data_type 2, name 8, external_data 13 (key 1, value 2). */
function readInitializer(tensor: Uint8Array): [name: string, entries: PageEntries | undefined] {
  const dims: number[] = [];
  const externalData: ExternalEntry[] = [];
  let name = "";
  let type = 0;
  for (const [field, value] of fields(tensor)) {
    if (field === 1 && value instanceof Uint8Array) dims.push(...packed(value));
    else if (field === 1) dims.push(Number(value));
    else if (field === 2) type = Number(value);
    else if (field === 8 && value instanceof Uint8Array) name = utf8.decode(value);
    else if (field === 13 && value instanceof Uint8Array) externalData.push(readEntry(value));
  }
  if (externalData.length === 0) return [name, undefined];
  const dtype = dtypeOf(type);
  if (!dtype) throw badFile(`initializer ${name} has an unknown element type`, type);
  return [name, { dims, dtype, externalData }];
}

function readEntry(bytes: Uint8Array): ExternalEntry {
  let [key, value] = ["", ""];
  for (const [field, text] of fields(bytes)) {
    if (field === 1 && text instanceof Uint8Array) key = utf8.decode(text);
    if (field === 2 && text instanceof Uint8Array) value = utf8.decode(text);
  }
  return { key, value };
}

function packed(bytes: Uint8Array): number[] {
  const cursor = { at: 0 };
  const values: number[] = [];
  while (cursor.at < bytes.length) values.push(Number(varint(bytes, cursor)));
  return values;
}

/** The fields of one protobuf message: number and value (bytes of a nested message or text, or an integer). */
function* fields(bytes: Uint8Array): Generator<readonly [field: number, value: bigint | Uint8Array]> {
  const cursor = { at: 0 };
  while (cursor.at < bytes.length) {
    const tag = Number(varint(bytes, cursor));
    const wire = tag & 7;
    if (wire === 0) {
      yield [tag >>> 3, varint(bytes, cursor)];
      continue;
    }
    const fixed: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
    const length = wire === 2 ? Number(varint(bytes, cursor)) : fixed[wire];
    if (length === undefined) throw badFile("the ONNX bytes hold an unknown kind of field", wire);
    if (cursor.at + length > bytes.length) throw badFile("the ONNX bytes are cut", bytes.length, cursor.at + length);
    yield [tag >>> 3, bytes.subarray(cursor.at, cursor.at + length)];
    cursor.at += length;
  }
}

function varint(bytes: Uint8Array, cursor: { at: number }): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) throw badFile("the ONNX bytes are cut", bytes.length);
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw badFile("the ONNX bytes hold a number that never ends", cursor.at);
}

function badFile(what: string, got: string | number, wanted?: string | number): IroriError {
  return new IroriError("bad-file", { what, got, wanted });
}
