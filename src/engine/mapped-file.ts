// Writing a file that will be mapped: arrays at page boundaries, in one piece or piece by piece, hashed when all are written.
// It does not know what the arrays mean.
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Extent } from "./manifest.ts";

const PAGE = 4096;
const PIECE_BYTES = 4 << 20;

export class MappedFileWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  #size = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }
  static async create(path: string): Promise<MappedFileWriter> {
    return new MappedFileWriter(await open(path, "wx+"));
  }

  /** Appends an array at the next page boundary. */
  async append(data: Uint8Array | Int8Array | Float32Array): Promise<Extent> {
    const extent = this.reserve(data.byteLength);
    await this.write(extent, 0, data);
    return extent;
  }

  /** Room for an array at the next page boundary; every byte of it must be written before `finish`. */
  reserve(length: number): Extent {
    const offset = Math.ceil(this.#size / PAGE) * PAGE;
    this.#size = offset + length;
    return { offset, length };
  }

  /** Writes a part of an array, `at` bytes from its beginning. */
  async write({ offset }: Extent, at: number, data: Uint8Array | Int8Array | Float32Array): Promise<void> {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, offset + at + done);
      done += bytesWritten;
    }
  }

  /** Makes the file durable; its size and the hash of what is in it. */
  async finish(): Promise<{ readonly bytes: number; readonly sha256: string }> {
    await this.#file.truncate(this.#size); // an array of no bytes may end it
    await this.#file.sync();
    const hash = createHash("sha256");
    const piece = new Uint8Array(PIECE_BYTES);
    for (let at = 0; at < this.#size; ) {
      const { bytesRead } = await this.#file.read(piece, 0, Math.min(piece.length, this.#size - at), at);
      if (bytesRead === 0) throw new Error(`the file ends at ${at} of ${this.#size} bytes while it is hashed`);
      hash.update(piece.subarray(0, bytesRead));
      at += bytesRead;
    }
    return { bytes: this.#size, sha256: hash.digest("hex") };
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
