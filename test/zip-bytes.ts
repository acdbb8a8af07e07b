// A zip archive made of given members, for tests that need a wheel on the fly.
// It writes 32-bit archives only, and checks nothing.

import { crc32, deflateRawSync } from "node:zlib";

export interface ZipMember {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly isStored?: boolean;
}

export function zipBytes(members: readonly ZipMember[]): Buffer {
  const pieces: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const member of members) {
    const packed = member.isStored ? Buffer.from(member.bytes) : deflateRawSync(member.bytes);
    const name = Buffer.from(member.name);
    const common = Buffer.alloc(26); // from "version needed" to the length of the extra field
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(member.isStored ? 0 : 8, 4);
    common.writeUInt32LE(crc32(member.bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(member.bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const rest = Buffer.alloc(14); // comment, disk, attributes, offset
    rest.writeUInt32LE(offset, 10);
    pieces.push(Buffer.from("PK\x03\x04"), common, name, packed);
    directory.push(Buffer.from("PK\x01\x02\x14\x03"), common, rest, name);
    offset += 30 + name.length + packed.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...pieces, entries, end]);
}
