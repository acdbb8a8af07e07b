// Reading one member of a zip archive (a wheel) as a stream: every offset and length is checked before use.
// It writes nothing and executes nothing; a member's name is compared, never used as a path.

import { Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import { cancelled, IroriError } from "../base/mod.ts";
import { type ArchiveMember, readDirectory } from "./archive-directory.ts";
import { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";

const pieceBytes = 1 << 20;
const localHeaderBytes = 30;

export class Archive implements AsyncDisposable {
  readonly members: readonly ArchiveMember[];
  private readonly file: ModelFile;
  private readonly directoryOffset: number;

  private constructor(file: ModelFile, members: readonly ArchiveMember[], directoryOffset: number) {
    this.file = file;
    this.members = members;
    this.directoryOffset = directoryOffset;
  }

  static async open(path: string): Promise<Archive> {
    await using stack = new AsyncDisposableStack();
    const file = stack.use(await ModelFile.open(path));
    const { members, offset } = await readDirectory(file);
    stack.move();
    return new Archive(file, members, offset);
  }

  /** The bytes of a member: exactly as many as its entry says and with its checksum, or an error. */
  async *read(member: ArchiveMember, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const start = await this.dataStart(member);
    const packed = Readable.from(this.packed(start, member.packedBytes));
    const plain = member.method === "stored" ? packed : unpack(packed);
    let bytes = 0;
    let checksum = 0;
    try {
      for await (const chunk of plain as AsyncIterable<Uint8Array>) {
        if (signal?.aborted) throw cancelled(`reading ${member.name}`, signal);
        bytes += chunk.length;
        if (bytes > member.bytes) break;
        checksum = crc32(chunk, checksum);
        yield chunk;
      }
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === undefined || !(code.startsWith("Z_") || code === "ERR_BUFFER_TOO_LARGE")) throw cause;
      throw this.bad(member, "its packed bytes are broken", code, "whole deflate data", cause);
    } finally {
      packed.destroy();
    }
    if (bytes !== member.bytes)
      throw this.bad(member, "its length", bytes > member.bytes ? "more" : bytes, member.bytes);
    if (checksum !== member.crc32) throw this.bad(member, "its checksum (CRC-32)", hex(checksum), hex(member.crc32));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }

  /** Where the member's bytes begin: behind a local header that must agree with the directory. */
  private async dataStart(member: ArchiveMember): Promise<number> {
    if (member.offset + localHeaderBytes > this.directoryOffset) {
      throw this.bad(member, "its offset", member.offset, `at most ${this.directoryOffset - localHeaderBytes}`);
    }
    const header = Buffer.from(await this.file.read(member.offset, localHeaderBytes));
    if (header.readUInt32LE(0) !== 0x04034b50)
      throw this.bad(member, "its local header", hex(header.readUInt32LE(0)), "04034b50");
    const nameBytes = header.readUInt16LE(26);
    const start = member.offset + localHeaderBytes + nameBytes + header.readUInt16LE(28);
    if (start + member.packedBytes > this.directoryOffset) {
      throw this.bad(member, "its end", start + member.packedBytes, `at most ${this.directoryOffset}`);
    }
    const name = Buffer.from(await this.file.read(member.offset + localHeaderBytes, nameBytes));
    if (!name.equals(member.rawName))
      throw this.bad(member, "its name in the local header", quoted(name.toString()), "the same");
    return start;
  }

  private async *packed(start: number, length: number): AsyncGenerator<Uint8Array> {
    for (let done = 0; done < length; done += pieceBytes) {
      yield await this.file.read(start + done, Math.min(pieceBytes, length - done));
    }
  }

  private bad(
    member: ArchiveMember,
    part: string,
    got: string | number,
    wanted: string | number,
    cause?: unknown,
  ): IroriError {
    const what = `${this.file.path}: ${quoted(member.name)}: ${part}`;
    return new IroriError("bad-file", { what, got, wanted, next: "fetch it again", cause });
  }
}

function unpack(packed: Readable): Readable {
  const inflate = createInflateRaw({ chunkSize: pieceBytes });
  packed.on("error", (error) => inflate.destroy(error));
  return packed.pipe(inflate);
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
