// Writing a zip archive of stored members of any size (APPNOTE 6.3, always zip64), each streamed and hashed on its way.
// It does not know what the members are.

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Disk, DiskFile } from "./store-disk.ts";

export interface WrittenMember {
  readonly bytes: number;
  readonly sha256: string;
}

const version = 45; // zip64
const wide = 0xffffffff;

export class ArchiveWriter implements AsyncDisposable {
  readonly #file: DiskFile;
  readonly #directory: Buffer[] = [];
  #at = 0;

  private constructor(file: DiskFile) {
    this.#file = file;
  }

  /** Makes the file, which must not exist. */
  static async create(disk: Disk, path: string): Promise<ArchiveWriter> {
    return new ArchiveWriter(await disk.create(path));
  }

  /** Adds a member of `bytes` bytes; more or fewer of them are the caller's fault. */
  async add(name: string, bytes: number, chunks: AsyncIterable<Uint8Array>): Promise<WrittenMember> {
    const header = this.#at;
    const rawName = Buffer.from(name);
    const hash = createHash("sha256");
    let [checksum, done] = [0, 0];
    // the checksum is known behind the bytes: the header is written again then
    await this.#file.writeAt(localHeader(rawName, bytes, 0), header);
    this.#at += localHeader(rawName, bytes, 0).length;
    for await (const chunk of chunks) {
      checksum = crc32(chunk, checksum);
      hash.update(chunk);
      await this.#file.writeAt(chunk, this.#at);
      this.#at += chunk.length;
      done += chunk.length;
    }
    if (done !== bytes) throw new Error(`${name}: ${done} bytes came, ${bytes} were announced`);
    await this.#file.writeAt(localHeader(rawName, bytes, checksum), header);
    this.#directory.push(directoryEntry(rawName, bytes, checksum, header));
    return { bytes, sha256: hash.digest("hex") };
  }

  /** Writes the directory and makes the file durable. */
  async finish(): Promise<void> {
    const entries = Buffer.concat(this.#directory);
    await this.#file.writeAt(
      Buffer.concat([entries, endOf(this.#directory.length, entries.length, this.#at)]),
      this.#at,
    );
    await this.#file.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** The extra field 0x0001 with the numbers that 32 bits may not hold. */
function wideExtra(numbers: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * numbers.length);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8 * numbers.length, 2);
  for (const [i, number] of numbers.entries()) extra.writeBigUInt64LE(BigInt(number), 4 + 8 * i);
  return extra;
}

/** What local headers and directory entries have in common: from "version needed" to the length of the extra field. */
function common(name: Buffer, checksum: number, extra: Buffer): Buffer {
  const fields = Buffer.alloc(26);
  fields.writeUInt16LE(version, 0);
  fields.writeUInt16LE(0x0800, 2); // names in UTF-8
  fields.writeUInt16LE(0x21, 8); // the first day that the format knows
  fields.writeUInt32LE(checksum, 10);
  fields.writeUInt32LE(wide, 14);
  fields.writeUInt32LE(wide, 18);
  fields.writeUInt16LE(name.length, 22);
  fields.writeUInt16LE(extra.length, 24);
  return fields;
}

function localHeader(name: Buffer, bytes: number, checksum: number): Buffer {
  const extra = wideExtra([bytes, bytes]);
  return Buffer.concat([Buffer.from("PK\x03\x04"), common(name, checksum, extra), name, extra]);
}

function directoryEntry(name: Buffer, bytes: number, checksum: number, offset: number): Buffer {
  const extra = wideExtra([bytes, bytes, offset]);
  const rest = Buffer.alloc(14); // comment, volume, attributes, offset
  rest.writeUInt32LE((0o100644 << 16) >>> 0, 6);
  rest.writeUInt32LE(wide, 10);
  return Buffer.concat([Buffer.from("PK\x01\x02\x2d\x03"), common(name, checksum, extra), rest, name, extra]);
}

/** The zip64 end, its locator, and the old end that points nowhere else. */
function endOf(count: number, size: number, offset: number): Buffer {
  const end64 = Buffer.alloc(56);
  end64.write("PK\x06\x06", "latin1");
  end64.writeBigUInt64LE(44n, 4);
  end64.writeUInt16LE(version, 12);
  end64.writeUInt16LE(version, 14);
  for (const [i, number] of [count, count, size, offset].entries()) end64.writeBigUInt64LE(BigInt(number), 24 + 8 * i);
  const locator = Buffer.alloc(20);
  locator.write("PK\x06\x07", "latin1");
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  locator.writeUInt32LE(1, 16);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(0xffff, 8);
  end.writeUInt16LE(0xffff, 10);
  end.writeUInt32LE(wide, 12);
  end.writeUInt32LE(wide, 16);
  return Buffer.concat([end64, locator, end]);
}
