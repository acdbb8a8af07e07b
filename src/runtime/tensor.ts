// Tensors that share memory with typed arrays: element types, shapes, and the library's value over the same bytes.
// It does not know programs. Memory stays alive as long as a Tensor, a Binding or a run in flight needs it.

import { IroriError } from "../base/mod.ts";
import type { Handle, Ort } from "./ort.ts";

interface Arrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
  int4: Uint8Array;
  uint4: Uint8Array;
}

/** Element types. float16 and bfloat16 are bit patterns; int4 and uint4 hold two elements a byte, low nibble first. */
export type DType = keyof Arrays;
export type TensorData<D extends DType = DType> = Arrays[D];

type ArrayClass<D extends DType> = new (buffer: ArrayBufferLike, offset: number, length: number) => Arrays[D];
interface TypeFacts<D extends DType> {
  readonly code: number;
  readonly bits: number;
  readonly array: ArrayClass<D>;
}

const types: { readonly [D in DType]: TypeFacts<D> } = {
  float32: { code: 1, bits: 32, array: Float32Array },
  uint8: { code: 2, bits: 8, array: Uint8Array },
  int8: { code: 3, bits: 8, array: Int8Array },
  uint16: { code: 4, bits: 16, array: Uint16Array },
  int16: { code: 5, bits: 16, array: Int16Array },
  int32: { code: 6, bits: 32, array: Int32Array },
  int64: { code: 7, bits: 64, array: BigInt64Array },
  bool: { code: 9, bits: 8, array: Uint8Array },
  float16: { code: 10, bits: 16, array: Uint16Array },
  float64: { code: 11, bits: 64, array: Float64Array },
  uint32: { code: 12, bits: 32, array: Uint32Array },
  uint64: { code: 13, bits: 64, array: BigUint64Array },
  bfloat16: { code: 16, bits: 16, array: Uint16Array },
  uint4: { code: 21, bits: 4, array: Uint8Array },
  int4: { code: 22, bits: 4, array: Uint8Array },
};
const byCode = new Map(Object.entries(types).map(([name, { code }]) => [code, name as DType]));

/** The element type of ONNX's number for it, or undefined for text and the types that Irori does not use. */
export function dtypeOf(code: number): DType | undefined {
  return byCode.get(code);
}

function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of a tensor of this type and shape. */
export function byteLengthOf(dtype: DType, shape: readonly number[]): number {
  return Math.ceil((elementCount(shape) * types[dtype].bits) / 8);
}

/** A value of the library: released when disposed of and no run uses it. */
class OrtValue {
  readonly ort: Ort;
  readonly handle: Handle;
  #uses = 1;

  constructor(ort: Ort, handle: Handle) {
    this.ort = ort;
    this.handle = handle;
  }

  retain(): void {
    this.#uses++;
  }

  release(): void {
    if (--this.#uses === 0) this.ort.release("Value", this.handle);
  }
}

/** Memory that the library allocated: given back by its last Tensor, or when nobody can reach the buffer any more. */
interface NativeMemory {
  readonly buffer: ArrayBuffer;
  readonly value: OrtValue;
  owners: number;
}

const forgottenValues = new FinalizationRegistry<OrtValue>((value) => value.release());

/** What a run or a binding holds of a tensor: the library's value, and the memory behind it. */
export interface Hold {
  readonly handle: Handle;
  readonly data: TensorData;
  release(): void;
}

let inside: {
  hold(tensor: Tensor, ort: Ort): Hold;
  adopt(dtype: DType, shape: readonly number[], data: TensorData, memory: NativeMemory): Tensor;
};

export class Tensor<D extends DType = DType> implements Disposable {
  readonly dtype: D;
  readonly shape: readonly number[];
  #data: TensorData<D> | undefined;
  #value: OrtValue | undefined;
  #memory: NativeMemory | undefined;

  private constructor(dtype: D, shape: readonly number[], data: TensorData<D>, memory?: NativeMemory) {
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]);
    this.#data = data;
    this.#memory = memory;
    if (memory) memory.owners++;
  }

  static {
    inside = {
      hold: (tensor, ort) => tensor.#hold(ort),
      adopt: (dtype, shape, data, memory) => new Tensor(dtype, shape, data, memory),
    };
  }

  /** A tensor over `data` (shared, not copied), or over new memory filled with zeros. */
  static of<D extends DType>(dtype: D, shape: readonly number[], data?: TensorData<D>): Tensor<D> {
    checkShape(dtype, shape);
    const { array, bits } = types[dtype];
    const length = bits === 4 ? byteLengthOf(dtype, shape) : elementCount(shape);
    if (data === undefined)
      return new Tensor(dtype, shape, new array(new ArrayBuffer((length * Math.max(bits, 8)) / 8), 0, length));
    if (!(data instanceof array)) {
      const got = (data as object).constructor.name;
      throw new IroriError("bad-input", { what: `a tensor of ${dtype} cannot share memory`, got, wanted: array.name });
    }
    if (data.length !== length) {
      throw new IroriError("bad-input", {
        what: `the array does not fill a tensor of ${dtype} [${shape.join(", ")}]`,
        got: `${data.length} elements`,
        wanted: length,
      });
    }
    return new Tensor(dtype, shape, data);
  }

  /** The elements, in row-major order: the memory itself, not a copy. */
  get data(): TensorData<D> {
    const data = this.#data;
    if (!data) throw new IroriError("bad-input", { what: `${describe(this)} was disposed of and cannot be read` });
    if (data.buffer instanceof ArrayBuffer && data.buffer.detached) {
      throw new IroriError("bad-input", {
        what: `the memory of ${describe(this)} is gone: its ArrayBuffer was transferred or detached`,
        next: "keep the buffer of a tensor in this thread while the tensor lives",
      });
    }
    return data;
  }

  get byteLength(): number {
    return byteLengthOf(this.dtype, this.shape);
  }

  /** Another shape over the same memory, starting `offset` elements in. */
  view(shape: readonly number[], offset = 0): Tensor<D> {
    checkShape(this.dtype, shape);
    const end = offset + elementCount(shape);
    if (offset < 0 || !Number.isInteger(offset) || end > elementCount(this.shape)) {
      throw new IroriError("bad-input", {
        what: `a view [${shape.join(", ")}] at element ${offset} leaves ${describe(this)}`,
        got: end,
        wanted: `at most ${elementCount(this.shape)} elements`,
      });
    }
    const perByte = types[this.dtype].bits === 4 ? 2 : 1;
    if (offset % perByte !== 0) {
      throw new IroriError("bad-input", {
        what: `a view of ${describe(this)} must start at a whole byte`,
        got: offset,
      });
    }
    const data = this.data.subarray(offset / perByte, Math.ceil(end / perByte)) as TensorData<D>;
    return new Tensor(this.dtype, shape, data, this.#memory);
  }

  /** Gives the library's side back (after the runs that use it); the caller's own array is left as it is. */
  [Symbol.dispose](): void {
    if (!this.#data) return;
    this.#data = undefined;
    if (this.#value) {
      forgottenValues.unregister(this);
      this.#value.release();
      this.#value = undefined;
    }
    const memory = this.#memory;
    if (memory && --memory.owners === 0) {
      forgottenValues.unregister(memory);
      memory.buffer.transfer(0); // detached: an array that is still held reads as empty, never as freed memory
      memory.value.release();
    }
    this.#memory = undefined;
  }

  #hold(ort: Ort): Hold {
    const data = this.data; // refuses disposed and detached memory
    this.#value ??= this.#wrap(ort, data);
    const used = [this.#value, ...(this.#memory ? [this.#memory.value] : [])];
    for (const value of used) value.retain();
    return {
      handle: this.#value.handle,
      data,
      release: () => {
        for (const value of used.splice(0)) value.release();
      },
    };
  }

  #wrap(ort: Ort, data: TensorData): OrtValue {
    // V8 keeps small arrays inside its moving heap until somebody asks for their buffer: the getter `data` did.
    const shape = new BigInt64Array(new ArrayBuffer(8 * this.shape.length));
    this.shape.forEach((size, i) => {
      shape[i] = BigInt(size);
    });
    const { code } = types[this.dtype];
    const args = [ort.cpuMemory, data, data.byteLength, shape, shape.length, code];
    const value = new OrtValue(ort, ort.make("CreateTensorWithDataAsOrtValue", ...args));
    forgottenValues.register(this, value, this);
    return value;
  }
}

/** Keeps a tensor's value and memory until `release`, whatever happens to the Tensor meanwhile. */
export function hold(tensor: Tensor, ort: Ort): Hold {
  return inside.hold(tensor, ort);
}

/** A tensor over memory that the library allocated for an output. */
export function adoptValue(ort: Ort, handle: Handle): Tensor {
  const { dtype, shape } = readType(ort, ort.make("GetTensorTypeAndShape", handle), true);
  const sizes = shape as number[];
  const bytes = byteLengthOf(dtype, sizes);
  const { array, bits } = types[dtype];
  const length = bits === 4 ? bytes : elementCount(sizes);
  if (bytes === 0) {
    ort.release("Value", handle);
    return Tensor.of(dtype, sizes);
  }
  const buffer = ort.memoryAt(ort.make("GetTensorMutableData", handle), bytes);
  const memory: NativeMemory = { buffer, value: new OrtValue(ort, handle), owners: 0 };
  forgottenValues.register(buffer, memory.value, memory);
  return inside.adopt(dtype, sizes, new array(buffer, 0, length), memory);
}

/** Element type and shape; symbolic sizes by their name, or -1 where they have none. */
export function readType(
  ort: Ort,
  info: Handle,
  owned: boolean,
): { readonly dtype: DType; readonly shape: readonly (number | string)[] } {
  try {
    const code = ort.number("GetTensorElementType", info);
    const dtype = dtypeOf(code);
    if (!dtype) throw new IroriError("unsupported", { what: "this ONNX element type is not supported", got: code });
    const rank = ort.number("GetDimensionsCount", info);
    const sizes = new BigInt64Array(new ArrayBuffer(8 * rank));
    const names: (string | null)[] = Array.from({ length: rank }, () => null);
    ort.call("GetDimensions", info, sizes, rank);
    if (rank > 0 && sizes.some((size) => size < 0)) ort.call("GetSymbolicDimensions", info, names, rank);
    return { dtype, shape: Array.from(sizes, (size, i) => (size < 0 ? names[i] || -1 : Number(size))) };
  } finally {
    if (owned) ort.release("TensorTypeAndShapeInfo", info);
  }
}

function describe(tensor: { readonly dtype: DType; readonly shape: readonly (number | string)[] }): string {
  return `the tensor ${tensor.dtype} [${tensor.shape.join(", ")}]`;
}

function checkShape(dtype: DType, shape: readonly number[]): void {
  if (!Object.hasOwn(types, dtype)) {
    throw new IroriError("bad-input", {
      what: "unknown element type",
      got: dtype,
      wanted: Object.keys(types).join(", "),
    });
  }
  for (const size of shape) {
    if (Number.isInteger(size) && size >= 0) continue;
    throw new IroriError("bad-input", {
      what: `[${shape.join(", ")}] is not a shape`,
      got: size,
      wanted: "whole sizes",
    });
  }
}
