// A graph that PyTorch Geometric has saved: features, links and, where there are any, the documents of its nodes.
// It does not know what becomes of them.
import { IroriError } from "../../base/mod.ts";
import { Archive } from "../../checkpoint/mod.ts";
import { Name, Persistent, type Pickled, PickledObject, unpickle } from "./pickle.ts";

export interface TorchGraph {
  /** One row a node. */
  readonly features: readonly Float32Array[];
  readonly edges: readonly (readonly [source: number, target: number])[];
  readonly documents: readonly Readonly<Record<string, unknown>>[];
}

/** Numbers of a storage by its type. */
const STORAGES: Readonly<Record<string, (bytes: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  "torch FloatStorage": (bytes) => new Float32Array(bytes),
  "torch DoubleStorage": (bytes) => new Float64Array(bytes),
  "torch LongStorage": (bytes) => new BigInt64Array(bytes),
  "torch IntStorage": (bytes) => new Int32Array(bytes),
};

/** Throws "bad-file" for a damaged or hostile file. */
export async function readTorchGraph(path: string): Promise<TorchGraph> {
  await using archive = await Archive.open(path);
  const find = (end: string) => archive.members.find(({ name }) => name.endsWith(end));
  const read = async (end: string): Promise<Uint8Array<ArrayBuffer>> => {
    const member = find(end);
    if (member === undefined)
      throw new IroriError("bad-file", { what: `${path} has no ${end}`, wanted: "a file that torch.save wrote" });
    const pieces: Uint8Array[] = [];
    for await (const piece of archive.read(member)) pieces.push(piece);
    return new Uint8Array(Buffer.concat(pieces));
  };
  const storages = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const { name } of archive.members) {
    const key = /\/data\/(\d+)$/.exec(name)?.[1];
    if (key !== undefined) storages.set(key, await read(`/data/${key}`));
  }
  const fields = fieldsOf(unpickle(path, await read("/data.pkl")));
  const tensor = (name: string) => {
    const found = fields.get(name);
    return found === undefined ? undefined : tensorOf(path, found, storages);
  };
  const [x, edges] = [tensor("x"), tensor("edge_index")];
  const [rows = 0, width = 0] = x?.shape ?? [];
  const features = Array.from({ length: rows }, (_, i) =>
    Float32Array.from({ length: width }, (__, j) => Number(x?.at(i, j))),
  );
  const count = edges?.shape[1] ?? 0;
  const pairs = Array.from({ length: count }, (_, e) => [Number(edges?.at(0, e)), Number(edges?.at(1, e))] as const);
  const documents = fields.get("documents");
  return {
    features,
    edges: pairs,
    documents: Array.isArray(documents)
      ? documents.map((one) => plainOf(path, one, storages) as Record<string, unknown>)
      : [],
  };
}

/** A Data object keeps its tensors in a storage's mapping; older ones in itself. */
function fieldsOf(value: Pickled): Map<Pickled, Pickled> {
  if (value instanceof Map) return value;
  if (!(value instanceof PickledObject) || !(value.state instanceof Map)) return new Map();
  const store = value.state.get("_store");
  const mapping =
    store instanceof PickledObject && store.state instanceof Map ? store.state.get("_mapping") : undefined;
  return mapping instanceof Map ? mapping : value.state;
}

function tensorOf(path: string, value: Pickled, storages: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
  const bad = (got: string) => new IroriError("bad-file", { what: `${path}: a tensor`, got });
  if (!(value instanceof PickledObject) || value.name !== "torch._utils _rebuild_tensor_v2")
    throw bad("something else");
  const [storage, offset, shape, strides] = value.args;
  if (!(storage instanceof Persistent) || !Array.isArray(shape) || !Array.isArray(strides))
    throw bad("no storage, shape or strides");
  const [, type, key] = storage.id;
  const open = type instanceof Name ? STORAGES[type.name] : undefined;
  const bytes = storages.get(String(key));
  if (open === undefined || bytes === undefined)
    throw bad(`storage ${String(key)} of ${type instanceof Name ? type.name : "no type"}`);
  const size = type instanceof Name && /Double|Long/.test(type.name) ? 8 : 4;
  if (bytes.length % size !== 0) throw bad(`${bytes.length} bytes of storage ${String(key)}`);
  const numbers = open(bytes.buffer);
  const [sizes, steps] = [shape.map(Number), strides.map(Number)];
  const last = Number(offset) + sizes.reduce((sum, length, d) => sum + (length - 1) * (steps[d] as number), 0);
  if (
    sizes.length !== 2 ||
    sizes.some((length) => !(length >= 0)) ||
    (sizes.every((length) => length > 0) && !(last < numbers.length))
  )
    throw bad(`shape ${sizes.join(" x ")} over ${numbers.length} numbers`);
  return {
    shape: sizes,
    at: (i: number, j: number) =>
      numbers[Number(offset) + i * (steps[0] as number) + j * (steps[1] as number)] as number | bigint,
  };
}

/** Maps as records, numpy arrays as Float32Array. */
function plainOf(path: string, value: Pickled, storages: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, one]) => [String(key), plainOf(path, one, storages)]));
  if (Array.isArray(value)) return value.map((one) => plainOf(path, one, storages));
  if (!(value instanceof PickledObject)) return value;
  if (/ _reconstruct$/.test(value.name) && Array.isArray(value.state)) return arrayOf(path, value.state);
  if (value.name === "torch._utils _rebuild_tensor_v2") return undefined; // a tensor in a document: its text is what counts
  if (/ scalar$/.test(value.name) && value.args[1] instanceof Uint8Array) {
    const view = new DataView(value.args[1].slice().buffer);
    return value.args[1].length === 8 ? view.getFloat64(0, true) : view.getFloat32(0, true);
  }
  return undefined;
}

/** numpy's state: version, shape, dtype, order, bytes. float32 and float64, little-endian. */
function arrayOf(path: string, [, shape, dtype, , bytes]: readonly Pickled[]): Float32Array {
  const type = dtype instanceof PickledObject ? String(dtype.args[0]) : "";
  const raw = bytes instanceof Uint8Array ? bytes.slice() : new Uint8Array();
  const count = Array.isArray(shape) ? shape.reduce<number>((product, length) => product * Number(length), 1) : -1;
  const size = type === "f8" ? 8 : type === "f4" ? 4 : 0;
  if (size === 0 || raw.length !== count * size)
    throw new IroriError("bad-file", {
      what: `${path}: an array`,
      got: `${raw.length} bytes of ${type || "no type"} for ${count} numbers`,
    });
  return size === 4 ? new Float32Array(raw.buffer) : Float32Array.from(new Float64Array(raw.buffer));
}
