// From a checkpoint's tensors to the weights file of one form: names and rows as the family wants them, blocks kept or made.
// Tensors are read and written piece by piece: memory does not grow with the model. It does not know tokenizers, stores or the runtime.
import { cancelled, type OnProgress } from "../base/mod.ts";
import type { BlockType, Checkpoint } from "../checkpoint/mod.ts";
import type { Config, Family } from "../models/mod.ts";
import { bytesPerElement, type Coding, exactCoding, float32, floatCoding, ownCoding, Scratch } from "./coding.ts";
import { type Located, locateAll } from "./locate-weights.ts";
import type { Form, FormReport, StoredTensor } from "./manifest.ts";
import type { MappedFileWriter } from "./mapped-file.ts";
import { type BlockError, noError } from "./own-blocks.ts";

export interface ConvertOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** A piece's values, as float32 and as the checkpoint has them, stay below this. */
const PIECE_BYTES = 4 << 20;
const rowsOfPiece = (rowBytes: number): number => Math.max(1, Math.floor(PIECE_BYTES / rowBytes));

/** Writes every weight of the family; returns where each lies and what became of each type. */
export async function convertWeights(
  checkpoint: Checkpoint,
  family: Family,
  config: Config,
  form: Form,
  file: MappedFileWriter,
  { signal, onProgress }: ConvertOptions,
) {
  const tensors: Record<string, StoredTensor> = {};
  const report = new Map<string, ReportWithError>();
  const wanted = locateAll(checkpoint, family, config);
  const total = wanted.reduce((sum, { shape }) => sum + product(shape), 0);
  const target = { file, scratch: new Scratch() };
  const how = { family, config, form };
  let done = 0;
  for (const weight of wanted) {
    const type = checkpoint.typeOf(weight.info.name);
    const plan = planOf(type, weight, how);
    const onElements = (elements: number) => {
      if (signal?.aborted) throw cancelled("preparing", signal);
      done += elements;
      onProgress?.({ step: "prepare", item: weight.name, done: done * 4, total: total * 4, unit: "bytes" });
    };
    const write = plan.isTurned ? writeTurned : writeRows;
    tensors[weight.name] = await write(checkpoint, weight, plan, target, onElements);
    addToReport(report, type.name, plan.coding, product(weight.shape));
  }
  return { tensors, report: [...report.values()].map(({ error, ...told }) => ({ ...told, ...toldError(error) })) };
}

/** How one tensor is written. */
interface Plan {
  readonly coding: Coding;
  /** Rows and columns of the file change places. */
  readonly isTurned: boolean;
  /** What is stored is the weight's transpose. */
  readonly isTransposed: boolean;
}

interface Wanted {
  readonly family: Family;
  readonly config: Config;
  readonly form: Form;
}

function planOf(type: BlockType, weight: Located, how: Wanted): Plan {
  const kind = kindOf(type, weight, how);
  const isTransposed = kind !== "floats" && weight.isInOut;
  const isTurned = weight.isTransposed !== isTransposed;
  const read = isTurned ? float32 : type; // what is turned is turned as floats
  const coding =
    kind === "exact" ? exactCoding(type) : kind === "floats" ? floatCoding(read, weight.offset) : ownCoding(read, kind);
  return { coding, isTurned, isTransposed };
}

/**
 * "blocks" keeps the checkpoint's blocks where they have an exact integer form. "q8" and "q4" keep those of as many bits or
 * fewer and make their own of all other matrices: "q4" 8-bit ones of tables over the vocabulary (the embedding, the head) and of
 * what the family calls delicate.
 */
function kindOf(type: BlockType, weight: Located, { family, config, form }: Wanted): "floats" | "exact" | 4 | 8 {
  const { name, shape, isInOut } = weight;
  if (form === "f32" || shape.length !== 2) return "floats";
  const isDelicate = family.delicate?.some((part) => name.endsWith(`${part}.weight`)) ?? false;
  const most = form === "q4" && !isDelicate && shape[0] !== config.vocabSize ? 4 : 8;
  if (type.exact !== undefined && (form === "blocks" || type.exact.bits <= most)) return "exact";
  const width = shape[isInOut ? 0 : 1] as number; // of the rows that blocks lie along
  return form === "blocks" || width % 32 !== 0 ? "floats" : most;
}

/** Bytes of the weights file that `convertWeights` would write, but for its gaps. */
export function convertedBytes(checkpoint: Checkpoint, family: Family, config: Config, form: Form): number {
  const how = { family, config, form };
  const bytes = (weight: Located): number =>
    product(weight.shape) * bytesPerElement(planOf(checkpoint.typeOf(weight.info.name), weight, how).coding);
  return locateAll(checkpoint, family, config).reduce((sum, each) => sum + bytes(each), 0);
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

interface Target {
  readonly file: MappedFileWriter;
  readonly scratch: Scratch;
}

/** Converts a tensor a few rows at a time. */
async function writeRows(
  checkpoint: Checkpoint,
  { info, rows }: Located,
  { coding, isTransposed }: Plan,
  target: Target,
  onElements: (elements: number) => void,
): Promise<StoredTensor> {
  const width = info.shape.at(-1) ?? 1;
  const count = product(info.shape) / Math.max(1, width);
  const rowBytes = info.byteLength / Math.max(1, count);
  const read = (first: number, length: number) =>
    readRows(checkpoint, info.name, { rowBytes, first, length, rows }, target.scratch);
  return await writeCoded(info.shape, rowBytes, read, { coding, isTransposed }, target, onElements);
}

/** Writes rows as `read` gives them, `rowBytes` each. */
async function writeCoded(
  shape: readonly number[],
  rowBytes: number,
  read: (first: number, length: number) => Uint8Array | Promise<Uint8Array>,
  { coding, isTransposed }: Pick<Plan, "coding" | "isTransposed">,
  { file, scratch }: Target,
  onElements: (elements: number) => void,
): Promise<StoredTensor> {
  const width = shape.at(-1) ?? 1;
  const count = product(shape) / Math.max(1, width);
  const extents = coding.arrays.map(({ bytesPerElement }) => file.reserve(product(shape) * bytesPerElement));
  const most = rowsOfPiece(Math.max(rowBytes, width * 4));
  for (let first = 0; first < count; first += most) {
    const length = Math.min(most, count - first);
    const arrays = coding.encode(await read(first, length), length * width, scratch);
    for (const [i, data] of arrays.entries())
      await file.write(extents[i]!, first * width * (coding.arrays[i]?.bytesPerElement ?? 0), data);
    onElements(length * width);
  }
  const stored = coding.stored(shape, extents);
  return isTransposed ? { ...stored, isTransposed } : stored;
}

interface Rows {
  readonly rowBytes: number;
  readonly first: number;
  readonly length: number;
  readonly rows: Located["rows"];
}

/** Rows [first, first + length) of the weight: those of the tensor, or those that `rows` names (they lie close together). */
async function readRows(
  checkpoint: Checkpoint,
  name: string,
  { rowBytes, first, length, rows }: Rows,
  scratch: Scratch,
): Promise<Uint8Array> {
  const moved = scratch.bytes("rows", length * rowBytes);
  if (rows === undefined) {
    await checkpoint.readPart(name, first * rowBytes, moved);
    return moved;
  }
  const from = Array.from({ length }, (_, i) => rows(first + i));
  const least = from.reduce((a, b) => Math.min(a, b));
  const last = from.reduce((a, b) => Math.max(a, b));
  const read = scratch.bytes("read", (last + 1 - least) * rowBytes);
  await checkpoint.readPart(name, least * rowBytes, read);
  for (const [i, row] of from.entries()) {
    const at = (row - least) * rowBytes;
    moved.set(read.subarray(at, at + rowBytes), i * rowBytes);
  }
  return moved;
}

/** Rows of a turned tensor are gathered for so many pieces at a time: each time the whole tensor is read. */
const TURNED_PIECES = 8;

/** A tensor [N, K] as [K, N]: its columns lie far apart, so that a band of them is gathered before its pieces are written. */
async function writeTurned(
  checkpoint: Checkpoint,
  { info }: Located,
  plan: Plan,
  target: Target,
  onElements: (elements: number) => void,
): Promise<StoredTensor> {
  const [n, k] = info.shape as [number, number];
  const most = TURNED_PIECES * rowsOfPiece(n * 4);
  let [start, end] = [0, 0];
  let band = new Float32Array(0);
  const read = async (first: number, length: number): Promise<Uint8Array> => {
    if (first >= end) {
      [start, end] = [first, Math.min(first + most, k)];
      band = await readColumns(checkpoint, info, start, end, target.scratch);
    }
    const rows = band.subarray((first - start) * n, (first - start + length) * n);
    return new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
  };
  return await writeCoded([k, n], n * 4, read, plan, target, onElements);
}

/** Columns [start, end) of a tensor [N, K], each in one piece: float32 [end − start, N] in `scratch`. */
async function readColumns(
  checkpoint: Checkpoint,
  { name, shape, byteLength }: Located["info"],
  start: number,
  end: number,
  scratch: Scratch,
): Promise<Float32Array<ArrayBuffer>> {
  const [n, k] = shape as [number, number];
  const type = checkpoint.typeOf(name);
  const rowBytes = byteLength / n;
  const most = rowsOfPiece(Math.max(rowBytes, k * 4));
  const turned = scratch.floats("turned", n * (end - start));
  for (let first = 0; first < n; first += most) {
    const length = Math.min(most, n - first);
    const bytes = scratch.bytes("read", length * rowBytes);
    await checkpoint.readPart(name, first * rowBytes, bytes);
    const values = scratch.floats("read values", length * k);
    type.dequantize(bytes, values);
    for (let row = 0; row < length; row++)
      for (let i = start; i < end; i++) turned[(i - start) * n + first + row] = values[row * k + i] as number;
  }
  return turned;
}

interface ReportWithError extends Omit<FormReport, "error"> {
  readonly error?: BlockError | undefined;
}

function addToReport(report: Map<string, ReportWithError>, type: string, coding: Coding, parameters: number): void {
  const { form, isExact, note, error } = coding;
  const key = `${type} ${form}`;
  const before = report.get(key);
  report.set(key, {
    type,
    form,
    isExact,
    tensors: (before?.tensors ?? 0) + 1,
    parameters: (before?.parameters ?? 0) + parameters,
    bytes: (before?.bytes ?? 0) + parameters * bytesPerElement(coding),
    ...(note !== undefined && { note }),
    error: error && summed(error, before?.error ?? noError()),
  });
}

const summed = (a: BlockError, b: BlockError): BlockError => ({
  differences: a.differences + b.differences,
  values: a.values + b.values,
  worst: Math.max(a.worst, b.worst),
});

/** Of blocks of our own making: how far they are from the checkpoint's values. */
function toldError(error: BlockError | undefined): Pick<FormReport, "error"> {
  if (error === undefined) return {};
  const whole = error.values === 0 ? 0 : Math.sqrt(error.differences / error.values);
  return { error: { whole, worstBlock: error.worst } };
}
