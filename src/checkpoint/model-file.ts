// One open file on this disk: its size, and reads that are complete or an error.
// It does not know formats; every other file of this folder reads bytes through it.

import { type FileHandle, open } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";

const pieceBytes = 2 ** 30; // one read call takes at most 2^31 − 1 bytes

export class ModelFile implements AsyncDisposable {
  readonly path: string;
  readonly size: number;
  private handle: FileHandle | undefined;

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.handle = handle;
  }

  static async open(path: string): Promise<ModelFile> {
    const handle = await diskCall(path, () => open(path, "r"));
    try {
      const stat = await diskCall(path, () => handle.stat());
      if (stat.isFile()) return new ModelFile(path, stat.size, handle);
      throw new IroriError("bad-input", { what: `${path}: not a regular file`, wanted: "a model file" });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Bytes [offset, offset + target.length) into `target`. */
  async readInto(target: Uint8Array, offset: number): Promise<void> {
    const { handle, path } = this;
    if (!handle) throw new IroriError("bad-input", { what: `${path}: read after the checkpoint was closed` });
    for (let done = 0; done < target.length; ) {
      const length = Math.min(pieceBytes, target.length - done);
      const { bytesRead } = await diskCall(path, () => handle.read(target, done, length, offset + done));
      done += bytesRead;
      if (bytesRead > 0) continue;
      const got = `${offset + done} bytes`;
      const next = "it became shorter while it was read: fetch it again";
      throw new IroriError("bad-file", { what: `${path}: cut`, got, wanted: `${offset + target.length}`, next });
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = roomFor(`${this.path}: reading ${length} bytes`, () => new Uint8Array(length));
    await this.readInto(bytes, offset);
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const handle = this.handle;
    this.handle = undefined;
    await handle?.close();
  }
}

/** A typed array that does not fit is an answer, not a RangeError. */
export function roomFor<T>(what: string, allocate: () => T): T {
  try {
    return allocate();
  } catch (cause) {
    const next = "close other programs or choose a smaller model";
    throw new IroriError("no-room", { what: `${what}: the memory for it could not be allocated`, next, cause });
  }
}

/** A failing disk call as a sentence. */
export async function diskCall<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new IroriError("not-found", { what: `${path}: no such file`, next: "check the path", cause });
    }
    throw new IroriError("io", { what: `${path}: the disk refused`, got: code, next: "check its permissions", cause });
  }
}
