// From a checkpoint's tensors to the weights file of one form: names and rows as the family wants them, blocks kept exact.
// Tensors are read and written piece by piece: memory does not grow with the model. It does not know tokenizers, stores or the runtime.
import { cancelled, type OnProgress } from "../base/mod.ts";
import type { BlockType, Checkpoint } from "../checkpoint/mod.ts";
import type { Config, Family } from "../models/mod.ts";
import { bytesPerElement, type Coding, exactCoding, floatCoding, Scratch } from "./coding.ts";
import { type Located, locateAll } from "./locate-weights.ts";
import type { Form, FormReport, StoredTensor } from "./manifest.ts";
import type { MappedFileWriter } from "./mapped-file.ts";

export interface ConvertOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** A piece's values, as float32 and as the checkpoint has them, stay below this. */
const PIECE_BYTES = 4 << 20;

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
  const report = new Map<string, FormReport>();
  const wanted = locateAll(checkpoint, family, config);
  const total = wanted.reduce((sum, { shape }) => sum + product(shape), 0);
  const target = { file, scratch: new Scratch() };
  let done = 0;
  for (const weight of wanted) {
    const coding = codingOf(checkpoint.typeOf(weight.info.name), weight, form);
    const onElements = (elements: number) => {
      if (signal?.aborted) throw cancelled("preparing", signal);
      done += elements;
      onProgress?.({ step: "prepare", item: weight.name, done: done * 4, total: total * 4, unit: "bytes" });
    };
    const stored = isTurned(weight, coding)
      ? await writeTurned(checkpoint, weight, coding, target)
      : await writeRows(checkpoint, weight, coding, target, onElements);
    if (isTurned(weight, coding)) onElements(product(weight.shape));
    tensors[weight.name] = stored;
    addToReport(report, checkpoint.typeOf(weight.info.name).name, coding, product(weight.shape));
  }
  return { tensors, report: [...report.values()] };
}

/** Blocks are kept where the form wants them and the type has an exact integer form. */
function codingOf(type: BlockType, { shape, offset }: Located, form: Form): Coding {
  const isBlocks = form === "blocks" && shape.length === 2 && type.exact !== undefined;
  return isBlocks ? exactCoding(type) : floatCoding(type, offset);
}

/** Floats of a transposed tensor are turned here; blocks lie along the rows that the file has, and stay as they are. */
const isTurned = ({ isTransposed }: Located, { arrays }: Coding): boolean =>
  isTransposed && arrays[0]?.part === "values";

/** Bytes of the weights file that `convertWeights` would write, but for its gaps. */
export function convertedBytes(checkpoint: Checkpoint, family: Family, config: Config, form: Form): number {
  const bytes = (weight: Located): number =>
    product(weight.shape) * bytesPerElement(codingOf(checkpoint.typeOf(weight.info.name), weight, form));
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
  { info, rows, isTransposed }: Located,
  coding: Coding,
  { file, scratch }: Target,
  onElements: (elements: number) => void,
): Promise<StoredTensor> {
  const width = info.shape.at(-1) ?? 1;
  const count = product(info.shape) / Math.max(1, width);
  const rowBytes = info.byteLength / Math.max(1, count);
  const extents = coding.arrays.map(({ bytesPerElement }) => file.reserve(product(info.shape) * bytesPerElement));
  const most = Math.max(1, Math.floor(PIECE_BYTES / Math.max(rowBytes, width * 4)));
  for (let first = 0; first < count; first += most) {
    const length = Math.min(most, count - first);
    const bytes = await readRows(checkpoint, info.name, { rowBytes, first, length, rows }, scratch);
    const arrays = coding.encode(bytes, length * width, scratch);
    for (const [i, data] of arrays.entries())
      await file.write(extents[i]!, first * width * (coding.arrays[i]?.bytesPerElement ?? 0), data);
    onElements(length * width);
  }
  const stored = coding.stored(info.shape, extents);
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

/** Floats of a tensor [N, K] as [K, N]: whole, since its columns lie far apart (a family that needs it is small). */
async function writeTurned(
  checkpoint: Checkpoint,
  { info, shape }: Located,
  coding: Coding,
  { file, scratch }: Target,
): Promise<StoredTensor> {
  const [n, k] = info.shape as [number, number];
  const values = coding.encode(await checkpoint.read(info.name), n * k, scratch)[0] as Float32Array;
  const turned = new Float32Array(n * k);
  for (let row = 0; row < n; row++) for (let i = 0; i < k; i++) turned[i * n + row] = values[row * k + i] as number;
  return coding.stored(shape, [await file.append(turned)]);
}

function addToReport(report: Map<string, FormReport>, type: string, coding: Coding, parameters: number): void {
  const { form, isExact, note } = coding;
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
  });
}
