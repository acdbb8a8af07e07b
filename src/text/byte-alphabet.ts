// The byte-level alphabet of GPT-2: every byte is written as one printable character, so that vocabularies are text.
// Also how sentencepiece writes a byte. Knows characters and bytes; does not know tokens.

/** Bytes that are written as themselves: printable Latin-1. The others take U+0100, U+0101, … in order. */
const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

function alphabet(): number[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => (isPrintable(byte) ? byte : next++));
}

/** byte → code unit of its character. */
const byteToCode: readonly number[] = alphabet();

const codeToByte = new Int16Array(0x144).fill(-1);
for (const [byte, code] of byteToCode.entries()) codeToByte[code] = byte;

const utf8 = new TextEncoder();

/**
 * Writes the bytes a vocabulary entry stands for into `bytes`, which has room for three a character; how many they are.
 * An entry with a character outside the alphabet stands for its own UTF-8.
 */
export function writeBytesOfEntry(entry: string, bytes: Uint8Array): number {
  for (let i = 0; i < entry.length; i++) {
    const byte = codeToByte[entry.charCodeAt(i)];
    if (byte === undefined || byte < 0) return utf8.encodeInto(entry, bytes).written;
    bytes[i] = byte;
  }
  return entry.length;
}

/** `<0x0A>` → 10; undefined for what is not written like this. */
export function byteOfEntry(entry: string): number | undefined {
  const hex = /^<0x([0-9A-F]{2})>$/.exec(entry)?.[1];
  return hex === undefined ? undefined : Number.parseInt(hex, 16);
}
