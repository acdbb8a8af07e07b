// The library's own form of a step's weights, written once into pages that every Program maps. Where its products can carry
// their offsets inside, they do, and a check goes along that says so on whatever machine opens the pages.
// It does not know checkpoints, steps or where the pages finally lie.
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { addToBlockSums, PagesWriter, type Runtime, type SavedWeights } from "../runtime/mod.ts";
import {
  constant,
  type Graph,
  graph,
  type OffsetProduct,
  offsetProducts,
  onnxBytes,
  slice,
  type Value,
  type WeightLocation,
  weightParts,
  weightsOf,
  withOffsetsInside,
} from "../tensor/mod.ts";
import type { Written } from "./mapped-check.ts";
import { agrees, type Expected, resultsOf } from "./offsets-check.ts";

type Locate = (name: string) => WeightLocation | undefined;

export interface PrepackSite {
  /** The prepared folder: locations are relative to it. */
  readonly folder: string;
  /** Folder inside it to write into. */
  readonly staging: string;
  readonly locate: Locate;
  readonly runtime: Runtime;
}

export interface Prepacked {
  readonly locations: Readonly<Record<string, WeightLocation>>;
  /** Weights (codes) whose packed form carries the offsets of their products. */
  readonly offsetsInside: ReadonlySet<string>;
  /** A Graph without inputs over those weights, and its results; undefined where there are none. */
  readonly check: { readonly graph: Graph; readonly expected: Expected } | undefined;
  /** The file of pages, in the folder that was given. */
  readonly pages: Written & { readonly name: string };
}

const SAVED = { model: "saved.onnx", weights: "saved.bin", pages: "pages.bin" } as const;
/** A product's offsets are checked on so many of its rows, */
const CHECKED_ROWS = 16;
/** for tokens that are all alike, alternating and rising. */
const PATTERNS = [() => 1, (i: number) => (i % 2 ? -1 : 1), (i: number) => (i % 16) / 16];

const formatOf = ({ bits, block }: OffsetProduct): string => `${bits}x${block}`;

/** So many bytes of weights are packed at a time; the library holds their packed form twice while it saves it. */
const PART_BYTES = 16 << 20;

/** Packs the weights of a fused and folded Graph, a part after another: memory grows with its largest weight, not with the model. */
export async function prepack(whole: Graph, site: PrepackSite): Promise<Prepacked> {
  for (let products = offsetProducts(whole); ; ) {
    const { locations, refused, pages } = await writeOnce(whole, products, site);
    const check = await checkOf(products, locations, site);
    const wrong = new Set([...refused, ...check.wrong]);
    if (wrong.size === 0) {
      const used = products.length > 0 ? check : undefined;
      return { locations, offsetsInside: codesOf(products), check: used, pages: { ...pages, name: SAVED.pages } };
    }
    products = products.filter((product) => !wrong.has(formatOf(product)));
  }
}

const codesOf = (products: readonly OffsetProduct[]): ReadonlySet<string> =>
  new Set(products.map(({ codes }) => codes));

/** Has the library save its form of a part's weights. */
async function saveLibraryForm(part: Graph, { folder, staging, locate, runtime }: PrepackSite): Promise<SavedWeights> {
  const [modelPath, dataFile] = [join(staging, SAVED.model), join(staging, SAVED.weights)];
  await Promise.all([modelPath, dataFile].map((path) => rm(path, { force: true })));
  const program = await runtime.compile(onnxBytes(part, { locate }), {
    weightsFolder: folder,
    prepack: true,
    optimization: "off",
    name: "prepacking",
    savePrepackedTo: { modelPath, fileName: SAVED.weights },
  });
  await program[Symbol.asyncDispose]();
  return { model: await readFile(modelPath), dataFile };
}

/** Writes the pages with the offsets of `products` inside; the formats for which the library's form has no place for them. */
async function writeOnce(whole: Graph, products: readonly OffsetProduct[], site: PrepackSite) {
  const { folder, staging } = site;
  const byCodes = new Map(products.map((product) => [product.codes, product]));
  const kept = readBy(withOffsetsInside(whole, codesOf(products)));
  const refused = new Set<string>();
  const locations: Record<string, WeightLocation> = {};
  await using pages = await PagesWriter.create(
    join(staging, SAVED.pages),
    `${staging.slice(folder.length + 1)}/${SAVED.pages}`,
  );
  for (const part of weightParts(whole, PART_BYTES)) {
    const edits = new Map<string, (block: Uint8Array) => void>();
    for (const { name } of weightsOf(part)) {
      const product = byCodes.get(name);
      if (product === undefined) continue;
      const table = await tablesOf(product, site);
      edits.set(name, (block) => addToBlockSums(block, table) || refused.add(formatOf(product)));
    }
    const saved = await saveLibraryForm(part, site);
    const copied = await pages.copy(saved, { keep: (name) => kept.has(name), edit: (name) => edits.get(name) });
    for (const [name, { externalData }] of copied)
      locations[name] = Object.fromEntries(externalData.map(({ key, value }) => [key, value]));
  }
  await Promise.all([SAVED.model, SAVED.weights].map((name) => rm(join(staging, name), { force: true })));
  return { locations, refused, pages: await pages.finish() };
}

/** Names of the weights that a Graph's kernels read: not those that lie inside others. */
export function readBy(g: Graph): ReadonlySet<string> {
  const names = new Set<string>();
  const locate: Locate = (name) => {
    names.add(name);
    return {};
  };
  onnxBytes(g, { locate });
  return names;
}

async function tablesOf({ scales, offsets, rows, blocks, bits }: OffsetProduct, site: PrepackSite) {
  const [scaleValues, offsetValues] = [await readFloats(scales, site), await readFloats(offsets, site)];
  return { scales: scaleValues, offsets: offsetValues, rows, blocks, centre: bits === 4 ? 8 : 128 };
}

async function readFloats(name: string, { folder, locate }: PrepackSite): Promise<Float32Array> {
  const { location = "", offset, length } = locate(name) ?? {};
  await using file = await open(join(folder, location), "r");
  const bytes = new Uint8Array(Number(length));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, Number(offset));
  if (bytesRead !== bytes.length)
    throw new IroriError("bad-file", { what: `${location} ends before ${name}`, got: bytesRead, wanted: bytes.length });
  return new Float32Array(bytes.buffer);
}

/** One product of each format, with what it must give; `wrong` are the formats whose pages do not give it. */
async function checkOf(products: readonly OffsetProduct[], locations: Prepacked["locations"], site: PrepackSite) {
  const largestFirst = products.toSorted((a, b) => b.rows * b.blocks - a.rows * a.blocks);
  const chosen = new Map(largestFirst.map((product) => [formatOf(product), product])); // the smallest of each format stays
  const outputsOf = (product: (of: OffsetProduct) => Value) =>
    graph(Object.fromEntries([...chosen].map(([name, of]) => [name, slice(product(of), 1, 0, CHECKED_ROWS)])));
  const plain = outputsOf((product) => product.of(patterns(product)));
  const inside = withOffsetsInside(plain, codesOf(products));
  const bare = outputsOf((product) => product.of(patterns(product)).node.inputs[0] as Value);
  const [expected, got, without] = await Promise.all([
    runOnce(plain, site.locate, site),
    runOnce(inside, (name) => locations[name], site),
    runOnce(bare, site.locate, site),
  ]);
  const wrong = [...chosen.keys()].filter((name) => {
    const one = (all: Expected) => ({ [name]: all[name] as readonly number[] });
    return !agrees(one(expected), one(got)) || agrees(one(expected), one(without));
  });
  return { graph: inside, expected, wrong };
}

/** Tokens to check with: float32 [3, K]. */
function patterns({ blocks, block }: OffsetProduct): Value {
  const width = blocks * block;
  const rows = PATTERNS.flatMap((pattern) => Array.from({ length: width }, (_, i) => pattern(i)));
  return constant(Float32Array.from(rows), [PATTERNS.length, width]);
}

async function runOnce(g: Graph, locate: Locate, { folder, runtime }: PrepackSite): Promise<Expected> {
  if (Object.keys(g.outputs).length === 0) return {};
  const options = { weightsFolder: folder, prepack: true, optimization: "off", name: "check of offsets" } as const;
  await using program = await runtime.compile(onnxBytes(g, { locate }), options);
  return resultsOf(program);
}
