// Writing a file that will be mapped: arrays at page boundaries, hashed as they are written.
// It does not know what the arrays mean.
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Extent } from "./manifest.ts";

const PAGE = 4096;

export class MappedFileWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #hash = createHash("sha256");
  #size = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }
  static async create(path: string): Promise<MappedFileWriter> {
    return new MappedFileWriter(await open(path, "wx"));
  }

  /** Appends an array at the next page boundary. */
  async append(data: Uint8Array | Float32Array): Promise<Extent> {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const gap = (PAGE - (this.#size % PAGE)) % PAGE;
    if (gap > 0) await this.#write(new Uint8Array(gap));
    const offset = this.#size;
    await this.#write(bytes);
    return { offset, length: bytes.length };
  }
  async #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#size + done);
      done += bytesWritten;
    }
    this.#size += bytes.length;
  }
  /** Makes the file durable; its size and hash. */
  async finish(): Promise<{ readonly bytes: number; readonly sha256: string }> {
    await this.#file.sync();
    return { bytes: this.#size, sha256: this.#hash.digest("hex") };
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
