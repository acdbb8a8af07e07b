// The directory at the end of a zip archive (APPNOTE 6.3, zip64 too): its members, checked.
// It does not read their bytes. Archives in several volumes, encrypted members and other methods are refused.

import { IroriError } from "../base/mod.ts";
import type { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";

export interface ArchiveMember {
  readonly name: string;
  readonly rawName: Buffer;
  readonly bytes: number;
  readonly packedBytes: number;
  readonly crc32: number;
  readonly method: "stored" | "deflate";
  readonly offset: number;
  /** Why this member is never read, where there is a reason: a folder, a link, a name that leaves its folder. */
  readonly refused: string | undefined;
}

const endBytes = 22;
const locatorBytes = 20;
const end64Bytes = 56;
const entryBytes = 46;
const mostComment = 0xffff;
/** A directory is read into memory whole; 64 MB hold half a million members. */
const mostDirectoryBytes = 64 << 20;

interface End {
  readonly count: number;
  readonly size: number;
  readonly offset: number;
  /** First byte that is not the directory's any more. */
  readonly limit: number;
}

export async function readDirectory(file: ModelFile): Promise<{ members: readonly ArchiveMember[]; offset: number }> {
  const end = await findEnd(file);
  if (end.offset + end.size !== end.limit) throw bad(file, "the directory's end", end.offset + end.size, end.limit);
  if (end.size > mostDirectoryBytes)
    throw bad(file, "the directory's length", end.size, `at most ${mostDirectoryBytes}`);
  if (end.count * entryBytes > end.size)
    throw bad(file, "the number of members", end.count, `at most ${Math.floor(end.size / entryBytes)}`);
  const bytes = Buffer.from(await file.read(end.offset, end.size));
  const members: ArchiveMember[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < end.count; i++) {
    const { member, next } = readEntry(file, bytes, at, end.offset);
    if (names.has(member.name)) throw bad(file, "a name that occurs twice", quoted(member.name), "names that differ");
    names.add(member.name);
    members.push(member);
    at = next;
  }
  if (at !== end.size) throw bad(file, "the directory's length", at, end.size);
  return { members, offset: end.offset };
}

async function findEnd(file: ModelFile): Promise<End> {
  const length = Math.min(file.size, endBytes + mostComment);
  const start = file.size - length;
  const tail = Buffer.from(await file.read(start, length));
  for (let at = length - endBytes; at >= 0; at--) {
    // A comment may hold the signature: the right one's comment ends with the file.
    if (tail.readUInt32LE(at) !== 0x06054b50 || at + endBytes + tail.readUInt16LE(at + 20) !== length) continue;
    const end64 = await findEnd64(file, start + at);
    if (end64) return end64;
    const volumes = tail.readUInt32LE(at + 4);
    const [count, size, offset] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
    if (volumes !== 0 || tail.readUInt16LE(at + 8) !== count)
      throw bad(file, "an archive in several volumes", "one of them", "one file");
    return { count, size, offset, limit: start + at };
  }
  throw bad(file, "the directory at the end of the archive", "none", "a whole zip archive");
}

/** Writers may give the 32-bit numbers too where they fit, so the locator before the end decides. */
async function findEnd64(file: ModelFile, endAt: number): Promise<End | undefined> {
  const locatorAt = endAt - locatorBytes;
  if (locatorAt < end64Bytes) return undefined;
  const locator = Buffer.from(await file.read(locatorAt, locatorBytes));
  if (locator.readUInt32LE(0) !== 0x07064b50) return undefined;
  const at = whole(file, locator.readBigUInt64LE(8));
  if (at + end64Bytes > locatorAt) throw bad(file, "the zip64 directory end", at, `at most ${locatorAt - end64Bytes}`);
  const end = Buffer.from(await file.read(at, end64Bytes));
  if (end.readUInt32LE(0) !== 0x06064b50) throw bad(file, "the zip64 directory end", "none", "a whole zip archive");
  if (end.readUInt32LE(16) !== 0 || end.readUInt32LE(20) !== 0)
    throw bad(file, "an archive in several volumes", "one of them", "one file");
  const [count, size, offset] = [32, 40, 48].map((place) => whole(file, end.readBigUInt64LE(place)));
  return { count: count!, size: size!, offset: offset!, limit: at };
}

function readEntry(file: ModelFile, bytes: Buffer, at: number, limit: number): { member: ArchiveMember; next: number } {
  if (at + entryBytes > bytes.length) throw bad(file, "a directory entry", "cut", `${entryBytes} bytes`);
  if (bytes.readUInt32LE(at) !== 0x02014b50)
    throw bad(file, "a directory entry", bytes.readUInt32LE(at).toString(16), "2014b50");
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((place) => bytes.readUInt16LE(at + place)) as [
    number,
    number,
    number,
  ];
  const next = at + entryBytes + nameBytes + extraBytes + commentBytes;
  if (next > bytes.length) throw bad(file, "a directory entry", "cut", `${next - at} bytes`);
  const rawName = bytes.subarray(at + entryBytes, at + entryBytes + nameBytes);
  const name = rawName.toString("utf8");
  const extra = bytes.subarray(at + entryBytes + nameBytes, at + entryBytes + nameBytes + extraBytes);
  const short = {
    bytes: bytes.readUInt32LE(at + 24),
    packedBytes: bytes.readUInt32LE(at + 20),
    offset: bytes.readUInt32LE(at + 42),
  };
  const sizes = widened(file, name, extra, short);
  const flags = bytes.readUInt16LE(at + 8);
  const method = bytes.readUInt16LE(at + 10);
  if (sizes.offset + sizes.packedBytes > limit)
    throw bad(file, `the end of ${quoted(name)}`, sizes.offset + sizes.packedBytes, `at most ${limit}`);
  if (method === 0 && sizes.packedBytes !== sizes.bytes)
    throw bad(file, `the length of ${quoted(name)}`, sizes.packedBytes, sizes.bytes);
  const refused = reasonToRefuse(name, rawName, bytes.readUInt32LE(at + 38) >>> 16, flags, method);
  const crc32 = bytes.readUInt32LE(at + 16);
  return { member: { name, rawName, ...sizes, crc32, method: method === 0 ? "stored" : "deflate", refused }, next };
}

interface Sizes {
  readonly bytes: number;
  readonly packedBytes: number;
  readonly offset: number;
}

/** Sizes that do not fit 32 bits stand in the extra field 0x0001, in this order, only those that are needed. */
function widened(file: ModelFile, name: string, extra: Buffer, short: Sizes): Sizes {
  const wide = { ...short };
  const missing = (["bytes", "packedBytes", "offset"] as const).filter((field) => short[field] === 0xffffffff);
  if (missing.length === 0) return wide;
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (at + 4 + length > extra.length) break;
    if (extra.readUInt16LE(at) === 1 && length >= missing.length * 8) {
      for (const [i, field] of missing.entries()) {
        const most = field === "bytes" ? BigInt(Number.MAX_SAFE_INTEGER) : BigInt(file.size);
        wide[field] = whole(file, extra.readBigUInt64LE(at + 4 + i * 8), most);
      }
      return wide;
    }
    at += 4 + length;
  }
  throw bad(file, `the zip64 sizes of ${quoted(name)}`, "none", `${missing.length}`);
}

function reasonToRefuse(
  name: string,
  rawName: Buffer,
  mode: number,
  flags: number,
  method: number,
): string | undefined {
  if (name.endsWith("/")) return "a folder";
  if ((mode & 0o170000) !== 0 && (mode & 0o170000) !== 0o100000) return "not a regular file";
  if (!Buffer.from(name, "utf8").equals(rawName)) return "a name that is not UTF-8";
  if (name === "" || /\p{Cc}|\\|^[a-z]:|^\//iu.test(name)) return "a name that is no relative path";
  if (name.split("/").some((part) => part === ".." || part === "." || part === ""))
    return "a name that leaves its folder";
  if ((flags & 1) !== 0) return "encrypted";
  if (method !== 0 && method !== 8) return `packed by method ${method}`;
  return undefined;
}

function whole(file: ModelFile, value: bigint, most = BigInt(file.size)): number {
  if (value > most) throw bad(file, "a zip64 number", value, `at most ${most}`);
  return Number(value);
}

function bad(file: ModelFile, part: string, got: string | number | bigint, wanted: string | number): IroriError {
  return new IroriError("bad-file", { what: `${file.path}: ${part}`, got, wanted, next: "fetch it again" });
}
