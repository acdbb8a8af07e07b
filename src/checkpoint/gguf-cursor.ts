// Reads numbers and strings from the first bytes of a GGUF file, checking every length against the whole file first.
// Where the bytes at hand end too early it throws NeedMoreBytes, which only the reader of the header catches.

import { isUtf8 } from "node:buffer";
import { IroriError } from "../base/mod.ts";
import { TextList } from "./text-list.ts";

/** Not an error of the file: the piece read so far is too short. */
export class NeedMoreBytes extends Error {}

export class GgufCursor {
  position = 0;
  private readonly path: string;
  private readonly fileSize: number;
  private readonly bytes: Buffer;
  private readonly view: DataView;

  constructor(path: string, fileSize: number, bytes: Uint8Array) {
    this.path = path;
    this.fileSize = fileSize;
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  bad(what: string, got: string | number | bigint, wanted: string | number): IroriError {
    return badGguf(this.path, `${what} (at byte ${this.position})`, got, wanted);
  }

  /** Moves over `length` bytes and returns where they began. */
  take(length: number, what: string): number {
    this.require(length, what);
    this.position += length;
    return this.position - length;
  }

  private require(length: number, what: string): void {
    const left = this.fileSize - this.position;
    if (length > left) throw this.bad(`${what} is cut`, `${left} bytes left`, length);
    if (length > this.bytes.length - this.position) throw new NeedMoreBytes();
  }

  uint32(what: string): number {
    return this.view.getUint32(this.take(4, what), true);
  }

  uint64(what: string): bigint {
    return this.view.getBigUint64(this.take(8, what), true);
  }

  /** A count of things that take at least `leastBytes` each: more than the file could hold is refused before any allocation. */
  count(what: string, leastBytes: number): number {
    const count = this.uint64(what);
    const most = Math.floor((this.fileSize - this.position) / leastBytes);
    if (count > most) throw this.bad(what, count, `at most ${most} in the rest of the file`);
    return Number(count);
  }

  string(what: string): string {
    const start = this.text(what);
    return this.bytes.toString("utf8", start, this.position);
  }

  /** `count` strings, left where they lie. */
  strings(count: number, what: string): TextList {
    this.require(count * 8, what); // of the lengths before them
    const starts = new Uint32Array(count);
    const ends = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      starts[i] = this.text(what);
      ends[i] = this.position;
    }
    return new TextList(this.bytes, starts, ends);
  }

  /** Moves over a string and returns where its letters begin. */
  private text(what: string): number {
    const high = this.view.getUint32(this.take(8, what) + 4, true);
    const length = this.view.getUint32(this.position - 8, true) + high * 2 ** 32;
    const start = this.take(length, what);
    this.requireUtf8(start, start + length, what);
    return start;
  }

  private requireUtf8(start: number, end: number, what: string): void {
    let at = start;
    while (at < end && (this.bytes[at] as number) < 0x80) at++;
    if (at === end || isUtf8(this.bytes.subarray(at, end))) return;
    const got = this.bytes.subarray(start, Math.min(end, start + 24)).toString("hex");
    throw badGguf(this.path, what, got, "valid UTF-8");
  }

  /** A copy of `length` bytes, aligned for any typed array. */
  copy(length: number, what: string): ArrayBuffer {
    const at = this.take(length, what);
    return new Uint8Array(this.bytes.subarray(at, at + length)).buffer;
  }

  number<T>(size: number, what: string, get: (view: DataView, at: number) => T): T {
    return get(this.view, this.take(size, what));
  }
}

export function badGguf(
  path: string,
  what: string,
  got: string | number | bigint,
  wanted: string | number,
): IroriError {
  const next = "the file is damaged or cut: fetch it again";
  return new IroriError("bad-file", { what: `${path}: ${what}`, got, wanted, next });
}
