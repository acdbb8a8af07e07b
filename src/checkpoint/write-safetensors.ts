// Writes tensors as a safetensors file, whole or not at all. Format: https://github.com/huggingface/safetensors#format
import { open, rename, rm } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint } from "./open.ts";

/** An array of numbers, row-major. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array | Uint8Array | Int8Array;
}

/** The system refuses writes of 2 GiB. */
const PIECE_BYTES = 2 ** 28;

const dtypeOf = (data: Numbers["data"]): string =>
  data instanceof Float32Array
    ? "F32"
    : data instanceof BigInt64Array
      ? "I64"
      : data instanceof Int8Array
        ? "I8"
        : "U8";

/** Tensors by name, in the order given, and texts about them; written beside and renamed. Throws "io" with the disk's reason. */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Numbers>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  // some loaders take a file only where it says whose layout its tensors have
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let end = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: dtypeOf(data), shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const beside = `${path}.${process.pid}.part`;
  try {
    await using file = await open(beside, "w");
    const length = new BigUint64Array([BigInt(padded.length)]);
    for (const data of [length, padded, ...Object.values(tensors).map((tensor) => tensor.data)])
      for (let done = 0; done < data.byteLength; ) {
        const piece = Math.min(PIECE_BYTES, data.byteLength - done);
        done += (await file.write(new Uint8Array(data.buffer, data.byteOffset + done, piece))).bytesWritten;
      }
    await file.sync();
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw new IroriError("io", { what: `${path} cannot be written`, got: (error as Error).message, cause: error });
  }
}

/** Every tensor of a safetensors file, as float32 (whole numbers up to 2²⁴ exactly). */
export async function readSafetensors(path: string): Promise<Record<string, Numbers>> {
  await using file = await openCheckpoint(path);
  const all: Record<string, Numbers> = {};
  for (const [name, { shape }] of file.tensors) all[name] = { shape, data: await file.readFloat32(name) };
  return all;
}
