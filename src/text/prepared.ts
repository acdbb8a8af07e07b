// The prepared form of a tokenizer: one blob of bytes that is its own hash tables, viewed where it lies. Every
// Tokenizer is one of these, freshly built or read from disk. Knows layout and lookups; does not know text.
import { crc32 } from "node:zlib";
import { IroriError } from "../base/mod.ts";
import type { AddedToken, TokenizerSettings } from "./parts.ts";

// Layout, little-endian, every section on 8 bytes:
//   0  "IRORITOK"   8 version u32   12 crc32 of all from 16 on   16 length of the whole u32   20 length of header u32
//   24 header (JSON: settings and the byte lengths of the sections), then the sections in the order of `sectionNames`.
const magic = "IRORITOK";
const version = 2;
const headStart = 24;
const sectionNames = [
  ...(["tokenOffsets", "tokenBytes", "tokenSlots", "merges", "mergeSlots", "byteIds", "scores", "charsmap"] as const),
  "added",
] as const;

interface Header {
  readonly settings: TokenizerSettings;
  readonly longestToken: number;
  readonly sections: readonly number[];
}

export interface Sections {
  /** V + 1 offsets into tokenBytes. */
  readonly tokenOffsets: Int32Array;
  /** The tokens' entries in the vocabulary, in UTF-8; where units are bytes, the bytes that they stand for. */
  readonly tokenBytes: Uint8Array;
  /** Open addressing by the token's bytes: id + 1, 0 = free. Tokens that no text arrives at by its letters are not in it. */
  readonly tokenSlots: Int32Array;
  /** By rank: left id, right id, id of the two merged. */
  readonly merges: Int32Array;
  /** Open addressing by (left, right): rank + 1, 0 = free. */
  readonly mergeSlots: Int32Array;
  /** byte → id of the token that is this byte alone, -1 where the vocabulary has none. */
  readonly byteIds: Int32Array;
  /** By id: log probabilities ("unigram") or ranks, the best 0 ("scored-bpe"). */
  readonly scores: Float64Array;
  readonly charsmap: Uint8Array;
  /** Pairs (id, flags). */
  readonly added: Int32Array;
}

export interface Prepared extends Sections {
  readonly bytes: Uint8Array;
  readonly settings: TokenizerSettings;
  /** Bytes of the longest token in tokenSlots. */
  readonly longestToken: number;
}

const flag = { control: 1, normalized: 2, stripLeft: 4, stripRight: 8, singleWord: 16 } as const;

const pairHash = (left: number, right: number): number => {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
};

// FNV-1a: `stepHash` takes in one byte, `endHash` spreads the outcome.
const startHash = 0x811c9dc5;
const stepHash = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);
const endHash = (hash: number): number => (hash ^ (hash >>> 15)) >>> 0;

function bytesHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = startHash;
  for (let i = start; i < end; i++) hash = stepHash(hash, bytes[i] as number);
  return endHash(hash);
}

/** A power of two that leaves at least half of the slots free. */
const slotCount = (entries: number): number => 2 ** Math.ceil(Math.log2(Math.max(4, entries * 2)));

/** The rank of merging two tokens, -1 where they do not merge. */
export function mergeRank({ merges, mergeSlots }: Prepared, left: number, right: number): number {
  const mask = mergeSlots.length - 1;
  for (let slot = pairHash(left, right) & mask; ; slot = (slot + 1) & mask) {
    const rank = (mergeSlots[slot] as number) - 1;
    if (rank < 0 || (merges[rank * 3] === left && merges[rank * 3 + 1] === right)) return rank;
  }
}

/** The id of the token that is exactly these bytes, -1 where there is none. */
export function tokenOfBytes(prepared: Prepared, bytes: Uint8Array, start: number, end: number): number {
  if (end - start > prepared.longestToken) return -1;
  return find(prepared, bytesHash(bytes, start, end), bytes, start, end);
}

/** Every token that the bytes have at `start`, the shortest first. Tokens are whole characters there. */
export function visitTokens(
  prepared: Prepared,
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (id: number, end: number) => void,
): void {
  const most = Math.min(end, start + prepared.longestToken);
  let hash = startHash;
  for (let at = start; at < most; ) {
    hash = stepHash(hash, bytes[at++] as number);
    if (at < end && ((bytes[at] as number) & 0xc0) === 0x80) continue; // inside a character
    const id = find(prepared, endHash(hash), bytes, start, at);
    if (id >= 0) visit(id, at);
  }
}

function find(prepared: Prepared, hash: number, bytes: Uint8Array, start: number, end: number): number {
  const { tokenSlots } = prepared;
  const mask = tokenSlots.length - 1;
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const id = (tokenSlots[slot] as number) - 1;
    if (id < 0 || equals(prepared, id, bytes, start, end)) return id;
  }
}

function equals(
  { tokenOffsets, tokenBytes }: Pick<Sections, "tokenOffsets" | "tokenBytes">,
  id: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  const own = tokenOffsets[id] as number;
  if ((tokenOffsets[id + 1] as number) - own !== end - start) return false;
  for (let i = start, j = own; i < end; i++, j++) if (tokenBytes[j] !== bytes[i]) return false;
  return true;
}

/** The tokens that are recognised in text as a whole. */
export function addedTokens({ added, tokenOffsets, tokenBytes }: Prepared): AddedToken[] {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  return Array.from({ length: added.length / 2 }, (_, i) => {
    const id = added[i * 2] as number;
    const flags = added[i * 2 + 1] as number;
    return {
      id,
      text: utf8.decode(tokenBytes.subarray(tokenOffsets[id], tokenOffsets[id + 1])),
      control: (flags & flag.control) !== 0,
      normalized: (flags & flag.normalized) !== 0,
      stripLeft: (flags & flag.stripLeft) !== 0,
      stripRight: (flags & flag.stripRight) !== 0,
      singleWord: (flags & flag.singleWord) !== 0,
    };
  });
}

export const addedTable = (added: readonly AddedToken[]): Int32Array =>
  Int32Array.from(added.flatMap((token) => [token.id, flagsOf(token)]));

function flagsOf(token: AddedToken): number {
  let flags = 0;
  for (const [name, bit] of Object.entries(flag)) if (token[name as keyof typeof flag]) flags |= bit;
  return flags;
}

export function mergeSlotTable(merges: Int32Array): Int32Array {
  const slots = new Int32Array(slotCount(merges.length / 3));
  for (let rank = 0; rank < merges.length / 3; rank++) {
    const [left, right] = [merges[rank * 3] as number, merges[rank * 3 + 1] as number];
    let slot = pairHash(left, right) & (slots.length - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = rank + 1;
  }
  return slots;
}

/** The table of tokens by their bytes, while it is filled. */
export class TokenSlots {
  readonly table: Int32Array;
  /** Bytes of the longest token that was added. */
  longest = 0;
  readonly #tokens: Pick<Sections, "tokenOffsets" | "tokenBytes">;

  constructor(tokens: Pick<Sections, "tokenOffsets" | "tokenBytes">, count: number) {
    this.#tokens = tokens;
    this.table = new Int32Array(slotCount(count));
  }

  /** Adds a token, unless it has no bytes or one with the same bytes is there. */
  add(id: number): void {
    const { tokenOffsets, tokenBytes } = this.#tokens;
    const [start, end] = [tokenOffsets[id] as number, tokenOffsets[id + 1] as number];
    if (start === end) return;
    const slot = this.#slotOf(tokenBytes, start, end);
    if (this.table[slot] !== 0) return;
    this.table[slot] = id + 1;
    this.longest = Math.max(this.longest, end - start);
  }

  /** The id of the token of these bytes, -1 where there is none. */
  find(bytes: Uint8Array): number {
    return (this.table[this.#slotOf(bytes, 0, bytes.length)] as number) - 1;
  }

  /** The slot of these bytes, or the free one where they would go. */
  #slotOf(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.table.length - 1;
    for (let slot = bytesHash(bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const id = (this.table[slot] as number) - 1;
      if (id < 0 || equals(this.#tokens, id, bytes, start, end)) return slot;
    }
  }
}

const padded = (length: number): number => Math.ceil(length / 8) * 8;

/** The blob of what `writePrepared` has made. */
export function assemble(settings: TokenizerSettings, longestToken: number, sections: Sections): Uint8Array {
  const parts = sectionNames.map((name) => sections[name]);
  const header = new TextEncoder().encode(
    JSON.stringify({ settings, longestToken, sections: parts.map((part) => part.byteLength) } satisfies Header),
  );
  const length = parts.reduce((sum, part) => sum + padded(part.byteLength), padded(headStart + header.length));
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(magic));
  view.setUint32(8, version, true);
  view.setUint32(16, length, true);
  view.setUint32(20, header.length, true);
  bytes.set(header, headStart);
  let at = padded(headStart + header.length);
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += padded(part.byteLength);
  }
  view.setUint32(12, crc32(bytes.subarray(16)), true);
  return bytes;
}

function damaged(what: string, got: string | number, wanted: string | number): IroriError {
  return new IroriError("bad-file", {
    what: `the prepared tokenizer ${what}`,
    got,
    wanted,
    next: "prepare the model again",
  });
}

/** Views the prepared form where it lies (copied once where it does not lie on 8 bytes). Throws "bad-file". */
export function readPrepared(source: Uint8Array): Prepared {
  const bytes = source.byteOffset % 8 === 0 ? source : source.slice();
  if (bytes.length < headStart) throw damaged("is cut", `${bytes.length} bytes`, `at least ${headStart}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = String.fromCharCode(...bytes.subarray(0, 8));
  if (found !== magic) throw damaged("begins with other bytes", JSON.stringify(found), magic);
  if (view.getUint32(8, true) !== version) throw damaged("has another version", view.getUint32(8, true), version);
  const length = view.getUint32(16, true);
  if (length !== bytes.length) throw damaged("has another length", `${bytes.length} bytes`, length);
  const checksum = crc32(bytes.subarray(16));
  if (checksum !== view.getUint32(12, true)) throw damaged("is corrupted", checksum, view.getUint32(12, true));
  const headerLength = view.getUint32(20, true);
  // The checksum held, so the header is the JSON that `assemble` wrote.
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(headStart, headStart + headerLength))) as Header;
  const { settings, longestToken } = header;
  return { bytes, settings, longestToken, ...viewSections(bytes, header, padded(headStart + headerLength)) };
}

function viewSections(bytes: Uint8Array, { sections }: Header, start: number): Sections {
  const end = sections.reduce((sum, length) => sum + padded(length), start);
  if (end !== bytes.length || sections.length !== sectionNames.length) {
    throw damaged("has sections that do not fill it", end, bytes.length);
  }
  const startOf = (name: keyof Sections): number =>
    sections.slice(0, sectionNames.indexOf(name)).reduce((sum, length) => sum + padded(length), start);
  const lengthOf = (name: keyof Sections): number => sections[sectionNames.indexOf(name)] as number;
  const plain = (name: keyof Sections): Uint8Array => bytes.subarray(startOf(name), startOf(name) + lengthOf(name));
  const { buffer, byteOffset } = bytes;
  const ints = (name: keyof Sections): Int32Array =>
    new Int32Array(buffer as ArrayBuffer, byteOffset + startOf(name), lengthOf(name) / 4);
  return {
    tokenOffsets: ints("tokenOffsets"),
    tokenBytes: plain("tokenBytes"),
    tokenSlots: ints("tokenSlots"),
    merges: ints("merges"),
    mergeSlots: ints("mergeSlots"),
    byteIds: ints("byteIds"),
    scores: new Float64Array(buffer as ArrayBuffer, byteOffset + startOf("scores"), lengthOf("scores") / 8),
    charsmap: plain("charsmap"),
    added: ints("added"),
  };
}
