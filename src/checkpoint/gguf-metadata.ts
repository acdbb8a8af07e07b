// The key-value part of a GGUF header: 13 value types, strings as TextLists, numbers as typed arrays.
// It gives no key a meaning.

import { IroriError } from "../base/mod.ts";
import type { GgufCursor } from "./gguf-cursor.ts";
import { quoted } from "./quoted.ts";
import type { TextList } from "./text-list.ts";

type Scalar = string | number | bigint | boolean;
type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** 64-bit scalars are numbers where a number holds them exactly, else bigints; arrays of them are Big…64Array. */
export type MetadataValue = Scalar | TextList | readonly boolean[] | NumberArray;

interface ValueType {
  /** Least bytes of one value in the file. */
  readonly size: number;
  readonly scalar: (cursor: GgufCursor, what: string) => Scalar;
  readonly array: (cursor: GgufCursor, count: number, what: string) => MetadataValue;
}

function numeric<T extends number | bigint>(
  size: number,
  get: (view: DataView, at: number) => T,
  ArrayOf: new (buffer: ArrayBuffer) => NumberArray,
): ValueType {
  return {
    size,
    scalar: (cursor, what) => narrow(cursor.number(size, what, get)),
    array: (cursor, count, what) => new ArrayOf(cursor.copy(count * size, what)),
  };
}

const narrow = (value: number | bigint): number | bigint =>
  typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;

function bool(cursor: GgufCursor, what: string): boolean {
  const byte = cursor.number(1, what, (view, at) => view.getUint8(at));
  if (byte > 1) throw cursor.bad(`${what} is a boolean`, byte, "0 or 1");
  return byte === 1;
}

const arrayType = 9;

const bools: ValueType = {
  size: 1,
  scalar: bool,
  array: (cursor, count, what) => Array.from({ length: count }, () => bool(cursor, what)),
};

const strings: ValueType = {
  size: 8, // of the length before it
  scalar: (cursor, what) => cursor.string(what),
  array: (cursor, count, what) => cursor.strings(count, what),
};

/** By GGUF's number; 9 is the array itself. */
const valueTypes: ReadonlyMap<number, ValueType> = new Map([
  [0, numeric(1, (view, at) => view.getUint8(at), Uint8Array)],
  [1, numeric(1, (view, at) => view.getInt8(at), Int8Array)],
  [2, numeric(2, (view, at) => view.getUint16(at, true), Uint16Array)],
  [3, numeric(2, (view, at) => view.getInt16(at, true), Int16Array)],
  [4, numeric(4, (view, at) => view.getUint32(at, true), Uint32Array)],
  [5, numeric(4, (view, at) => view.getInt32(at, true), Int32Array)],
  [6, numeric(4, (view, at) => view.getFloat32(at, true), Float32Array)],
  [7, bools],
  [8, strings],
  [10, numeric(8, (view, at) => view.getBigUint64(at, true), BigUint64Array)],
  [11, numeric(8, (view, at) => view.getBigInt64(at, true), BigInt64Array)],
  [12, numeric(8, (view, at) => view.getFloat64(at, true), Float64Array)],
]);

function typeOf(cursor: GgufCursor, number: number, what: string): ValueType {
  const type = valueTypes.get(number);
  if (type) return type;
  throw cursor.bad(`the value type of ${what}`, number, "0 to 12");
}

export function readMetadata(cursor: GgufCursor, path: string, count: number): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`metadata key ${i + 1} of ${count}`);
    if (key === "" || metadata.has(key)) throw cursor.bad(`metadata key ${i + 1}`, quoted(key), "a new name");
    metadata.set(key, readValue(cursor, path, `metadata ${quoted(key)}`));
  }
  return metadata;
}

function readValue(cursor: GgufCursor, path: string, what: string): MetadataValue {
  const number = cursor.uint32(`the type of ${what}`);
  if (number !== arrayType) return typeOf(cursor, number, what).scalar(cursor, what);
  const elementNumber = cursor.uint32(`the element type of ${what}`);
  if (elementNumber === arrayType) {
    throw new IroriError("unsupported", { what: `${path}: ${what} is an array of arrays`, wanted: "a flat array" });
  }
  const element = typeOf(cursor, elementNumber, what);
  return element.array(cursor, cursor.count(`the length of ${what}`, element.size), what);
}
