// From a checkpoint's tensors to the weights file of one form: names and rows as the family wants them, blocks kept exact.
// It does not know tokenizers, stores or the runtime.
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import type { BlockType, Checkpoint, TensorInfo } from "../checkpoint/mod.ts";
import type { Config, Family, Gguf } from "../models/mod.ts";
import type { Form, FormReport, StoredTensor } from "./manifest.ts";
import type { MappedFileWriter } from "./mapped-file.ts";

export interface ConvertOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

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
  let done = 0;
  for (const { name, shape, info, rows } of wanted) {
    if (signal?.aborted) throw cancelled("preparing", signal);
    const type = checkpoint.typeOf(info.name);
    const bytes = permuteRows(await checkpoint.read(info.name), shape, rows);
    const stored = isBlocks(form, shape, type)
      ? await writeBlocks(bytes, shape, type, file)
      : await writeFloats(bytes, shape, type, file);
    tensors[name] = stored;
    addToReport(report, type, shape, stored);
    done += product(shape);
    onProgress?.({ step: "prepare", item: name, done: done * 4, total: total * 4, unit: "bytes" });
  }
  return { tensors, report: [...report.values()] };
}

/** Blocks are kept where the form wants them and the type has an exact integer form. */
const isBlocks = (form: Form, shape: readonly number[], type: BlockType): boolean =>
  form === "blocks" && shape.length === 2 && type.exact !== undefined;

/** Bytes of the weights file that `convertWeights` would write, but for its gaps. */
export function convertedBytes(checkpoint: Checkpoint, family: Family, config: Config, form: Form): number {
  const bytes = ({ shape, info }: Located): number => {
    const type = checkpoint.typeOf(info.name);
    if (!isBlocks(form, shape, type)) return 4 * product(shape);
    const { bits, block, hasMin } = type.exact as NonNullable<BlockType["exact"]>;
    return product(shape) * (bits / 8 + (hasMin ? 8 : 4) / block);
  };
  return locateAll(checkpoint, family, config).reduce((sum, each) => sum + bytes(each), 0);
}

interface Located {
  readonly name: string;
  readonly shape: readonly number[];
  readonly info: TensorInfo;
  readonly rows: ((row: number) => number) | undefined;
}

/** Every weight of the family in the checkpoint. A tensor of a GGUF that no weight stands for would be missed: refused. */
function locateAll(checkpoint: Checkpoint, family: Family, config: Config): readonly Located[] {
  const all = [...family.weights(config)].map(([name, shape]) => ({
    name,
    shape,
    ...locate(checkpoint, family, config, name, shape),
  }));
  const used = new Set([...all.map(({ info }) => info.name), ...(family.gguf?.settings ?? [])]);
  const unused = [...checkpoint.tensors.keys()].filter((name) => !used.has(name));
  if (checkpoint.format !== "gguf" || unused.length === 0) return all;
  throw new IroriError("unsupported", {
    what: `${checkpoint.files[0]} holds ${unused.length} tensors that a ${family.name} has no place for`,
    got: unused.slice(0, 3).join(", "),
    next: "answers without them would be wrong; another file of the model may do",
  });
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function locate(checkpoint: Checkpoint, family: Family, config: Config, name: string, shape: readonly number[]) {
  const { names, rows } = namesOf(checkpoint, family, config, name);
  const info = names.map((each) => checkpoint.tensors.get(each)).find((each) => each !== undefined);
  const stored = names[0] as string;
  if (info === undefined)
    throw new IroriError("bad-file", {
      what: `${checkpoint.files[0]}: the tensor ${stored} is missing`,
      got: `${checkpoint.tensors.size} tensors`,
      wanted: `all of a ${family.name} with ${config.layers} layers`,
      next: "fetch the model again",
    });
  if (info.shape.join() !== shape.join())
    throw new IroriError("bad-file", { what: `tensor ${stored}: shape`, got: `[${info.shape}]`, wanted: `[${shape}]` });
  return { info, rows };
}

/** Whether a weight of the family is in the checkpoint, under any of its names. */
export const hasWeight = (checkpoint: Checkpoint, family: Family, config: Config, name: string): boolean =>
  namesOf(checkpoint, family, config, name).names.some((each) => checkpoint.tensors.has(each));

/** Names that a weight may have in the checkpoint, the usual one first. */
function namesOf(checkpoint: Checkpoint, family: Family, config: Config, name: string) {
  if (checkpoint.format === "gguf") {
    const { name: stored, rows } = (family.gguf as Gguf<Config>).tensor(config, name);
    return { names: [stored], rows };
  }
  const { prefix } = family;
  const names = [name, name.startsWith(prefix) ? name.slice(prefix.length) : `${prefix}${name}`];
  // checkpoints converted from TensorFlow
  const old = (each: string) =>
    each.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta");
  return { names: [...names, ...names.map(old)], rows: undefined };
}

/** Row r of the result is row rows(r) of the source; rows of blocks are whole. */
function permuteRows(
  bytes: Uint8Array,
  shape: readonly number[],
  rows: ((row: number) => number) | undefined,
): Uint8Array {
  if (rows === undefined) return bytes;
  const count = shape[0] as number;
  const size = bytes.length / count;
  const moved = new Uint8Array(bytes.length);
  for (let row = 0; row < count; row++) moved.set(bytes.subarray(rows(row) * size, (rows(row) + 1) * size), row * size);
  return moved;
}

async function writeFloats(
  bytes: Uint8Array,
  shape: readonly number[],
  type: BlockType,
  file: MappedFileWriter,
): Promise<StoredTensor> {
  const values = new Float32Array(product(shape));
  type.dequantize(bytes, values);
  return { shape, values: await file.append(values) };
}

async function writeBlocks(
  bytes: Uint8Array,
  shape: readonly number[],
  type: BlockType,
  file: MappedFileWriter,
): Promise<StoredTensor> {
  const { bits, block, zero, hasMin, split } = type.exact as NonNullable<BlockType["exact"]>;
  const size = product(shape);
  const codes = new Uint8Array((size * bits) / 8);
  const scales = new Float32Array(size / block);
  const mins = hasMin ? new Float32Array(size / block) : undefined;
  split(bytes, codes, scales, mins);
  const stored = {
    shape,
    format: { bits, block, zero },
    codes: await file.append(codes),
    scales: await file.append(scales),
  };
  return mins === undefined ? stored : { ...stored, mins: await file.append(mins) };
}

function addToReport(
  report: Map<string, FormReport>,
  { name: type, isRounded = false }: BlockType,
  shape: readonly number[],
  stored: StoredTensor,
): void {
  const form =
    "values" in stored
      ? "float32"
      : `${stored.format.bits} bit, blocks of ${stored.format.block}${stored.mins ? " with a min" : ""}`;
  const bytes =
    "values" in stored ? stored.values.length : stored.codes.length + stored.scales.length + (stored.mins?.length ?? 0);
  const key = `${type} ${form}`;
  const before = report.get(key);
  const slow = "format" in stored && stored.format.bits === 8 && stored.format.block < 32;
  report.set(key, {
    type,
    form,
    isExact: !isRounded,
    tensors: (before?.tensors ?? 0) + 1,
    parameters: (before?.parameters ?? 0) + product(shape),
    bytes: (before?.bytes ?? 0) + bytes,
    ...(slow && { note: "exact, about 2.5 times slower than blocks of 32" }),
  });
}
