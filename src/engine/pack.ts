// Packing a prepared model for this runtime and CPU: derived weights and prepacked pages that every Program maps, and the Programs' bytes.
// It does not know checkpoints or requests.
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { decoderNamed, familyNamed } from "../models/mod.ts";
import type { CompileOptions, Program, Runtime } from "../runtime/mod.ts";
import {
  type CacheScales,
  type Fusion,
  fold,
  fuse,
  fusions,
  type Graph,
  graphHash,
  int8Fusions,
  type Largest,
  onnxBytes,
  outputParts,
  rewrite,
  type WeightLocation,
  withOffsetsInside,
} from "../tensor/mod.ts";
import { changedGraph, type Shapes, type StepChange } from "./changed-step.ts";
import { meanCosine, meanNll } from "./int8-quality.ts";
import type { KvType } from "./kv-cache.ts";
import { scalesOf } from "./kv-scales.ts";
import { extentsOf, locateIn, type Manifest } from "./manifest.ts";
import { MappedFileWriter } from "./mapped-file.ts";
import { fromTexts, measuredModel, measureInputs, sampleIds, toTexts } from "./measure-inputs.ts";
import {
  isPrepacked,
  type Kernels,
  type Made,
  MOST_LOSS,
  nameOf,
  PACK_VERSION,
  type Packed,
  type PackSite,
  packName,
  packVersionOf,
  type Quality,
  readPacked,
  removePacked,
  type Stage,
  type StageFile,
  writePacked,
  writeQuality,
  writeStages,
} from "./packed.ts";
import { prepack, readBy } from "./prepack.ts";
import { stagesOf, stepGraph } from "./step.ts";
import { storedWeights } from "./stored-weight.ts";
import { type Reading, textGraph } from "./text-graph.ts";

/** Weights computed from others, before they are prepacked. */
const DERIVED = "derived.bin";

/** The step of a prepared model, over the arrays of its weights file. */
const stepOf = (manifest: Manifest, rows: number, scales?: readonly CacheScales[]): Graph =>
  stepGraph(decoderNamed(manifest.family), manifest.config, storedWeights(manifest), rows, scales);
const textsOf = (manifest: Manifest, reading: Reading): Graph =>
  textGraph(familyNamed(manifest.family), manifest.config, storedWeights(manifest), reading);

/** All that is packed of a model is in it. */
const wholeOf = (manifest: Manifest): Graph =>
  familyNamed(manifest.family).head === undefined
    ? textsOf(manifest, { of: "mean", hasTypes: false })
    : stepOf(manifest, 1);

/** Stages over packed pages, packing the model first where this runtime and CPU have not seen it; kept for the next time. */
export async function makeStages(site: PackSite, manifest: Manifest, made: Made): Promise<StageFile> {
  const packed = await packedAt(site, manifest);
  const list = fusionsOf(site, largestOf(packed));
  const graphs =
    "rows" in made
      ? stagesOf(stepOf(manifest, made.rows, await scalesOf(site, manifest, made.kvType)), manifest.config, list)
      : [fuse(textsOf(manifest, made), list)];
  const raw = locateIn(manifest);
  const stages = graphs.map((stage) =>
    stageOf(overPages(stage, packed), (name) => packed.locations[name] ?? raw(name)),
  );
  return writeStages(packed, nameOf(made), stages);
}

/** A step that is changed or read inside: its stages, and the shapes at its HookPoints. */
export interface ChangedStep extends StageFile {
  readonly shapes: Shapes;
}

/** The step of one row with changes, over the same pages as the others. */
export async function makeChanged(
  site: PackSite,
  manifest: Manifest,
  change: StepChange,
  kvType: KvType,
): Promise<ChangedStep> {
  const packed = await packedAt(site, manifest);
  const headWeight = decoderNamed(manifest.family).head.weight(manifest.config);
  const { graph, shapes } = changedGraph(
    stepOf(manifest, 1, await scalesOf(site, manifest, kvType)),
    change,
    headWeight,
  );
  const raw = locateIn(manifest);
  const stages = stagesOf(graph, manifest.config, fusionsOf(site, largestOf(packed))).map((stage) =>
    stageOf(overPages(stage, packed), (name) => packed.locations[name] ?? raw(name)),
  );
  return { stages, check: packed.check, shapes };
}

/** Folded, but for what is read and not among the packed weights: that is computed in each run. */
function overPages(stage: Graph, { locations, offsetsInside }: Packed): Graph {
  const { graph, derived } = fold(stage);
  const packed = withOffsetsInside(graph, new Set(offsetsInside));
  const read = readBy(packed);
  return rewrite(packed, ({ node }) => {
    const name = node.attrs.name as string;
    const isMissing = node.inputs.length === 0 && read.has(name) && locations[name] === undefined;
    const value = isMissing ? derived.outputs[name] : undefined;
    return value && [value];
  });
}

/** The packed form; undefined where there is none, or one that is damaged. */
const wholePacked = (site: PackSite): Promise<Packed | undefined> =>
  readPacked(site).catch((error: unknown) => {
    if (error instanceof IroriError && error.code === "bad-file") return undefined;
    throw error;
  });

const stageOf = (stage: Graph, locate: (name: string) => WeightLocation | undefined): Stage => ({
  hash: graphHash(stage),
  bytes: onnxBytes(stage, { locate }),
});

/** How large a layer's inputs are, as it was measured when the model was packed. */
const largestOf = ({ largest = {} }: Packed): Largest => fromTexts(largest);
const fusionsOf = ({ kernels }: PackSite, largest: Largest): readonly Fusion[] =>
  kernels === "int8" ? int8Fusions(largest) : fusions;

/** Of this process: leases of several forms may want the same pages at once. */
const packing = new Map<string, Promise<Packed>>();

/** The packed form, made where there is none. */
async function packedAt(site: PackSite, manifest: Manifest): Promise<Packed> {
  const packed = await wholePacked(site);
  if (packed !== undefined) return packed;
  const key = join(site.folder, packName(site));
  const known = packing.get(key);
  if (known !== undefined) return known;
  const making = packModel(site, manifest).finally(() => packing.delete(key));
  packing.set(key, making);
  return making;
}

async function packModel(site: PackSite, manifest: Manifest): Promise<Packed> {
  if (site.kernels === "own") return packAs(site, manifest, new Map());
  const ids = await sampleIds(site.folder, manifest);
  if (ids === undefined) return packAs(site, manifest, new Map());
  const packed = await packAs(site, manifest, await measureInputs(measuredModel(site, manifest), ids));
  const quality = await qualityOf(site, manifest, ids);
  if (quality.loss <= MOST_LOSS) {
    await writeQuality(site, quality);
    return packed;
  }
  // inputs in 16 bits: slower, but what is left is the rounding of the weights
  await removePacked(site);
  const fine = await packAs(site, manifest, new Map());
  await writeQuality(site, await qualityOf(site, manifest, ids));
  return fine;
}

/** Tokens that likelihoods are compared on. */
const COMPARED = 1024;

async function qualityOf(site: PackSite, manifest: Manifest, ids: readonly number[]): Promise<Quality> {
  const made: Made = manifest.isDecoder ? { rows: 1, kvType: "f32" } : { of: "mean", hasTypes: false };
  await using stack = new AsyncDisposableStack();
  const open = async (kernels: Kernels): Promise<readonly Program[]> => {
    const own = { ...site, kernels };
    const { stages } = await makeStages(own, manifest, made);
    const options: CompileOptions = {
      ...{ weightsFolder: site.folder, prepack: isPrepacked(manifest, kernels) },
      ...{ optimization: "off", memoryPattern: false, name: "measuring quality" },
    };
    return Promise.all(stages.map(async ({ bytes }) => stack.use(await site.runtime.compile(bytes, options))));
  };
  const [own, int8] = [await open("own"), await open("int8")];
  const { config } = manifest;
  const some = ids.slice(0, Math.min(COMPARED, config.maxPositions));
  if (manifest.isDecoder) {
    const change = (await meanNll(int8, config, some)) - (await meanNll(own, config, some));
    return { loss: Math.exp(change) - 1, tokens: some.length };
  }
  const length = Math.min(64, config.maxPositions);
  const texts = Array.from({ length: Math.floor(some.length / length) }, (_, i) =>
    some.slice(i * length, (i + 1) * length),
  );
  const loss = 1 - (await meanCosine([own[0] as Program, int8[0] as Program], texts));
  return { loss, tokens: texts.length * length };
}

async function packAs(site: PackSite, manifest: Manifest, largest: Largest): Promise<Packed> {
  const { folder } = site;
  await removeLeftovers(folder);
  const staging = join(folder, `${STAGING}${process.pid}-${randomUUID()}`);
  await mkdir(staging);
  try {
    await pack(site, staging, manifest, largest);
    await publish(staging, site);
    await removeOlder(folder);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return (await readPacked(site)) as Packed;
}

/** Puts the packed folder in its place. Another process may have been faster: its pages are the same; a broken one gives way. */
async function publish(staging: string, site: PackSite): Promise<void> {
  const into = () => rename(staging, join(site.folder, packName(site)));
  await into().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST" && error.code !== "EPERM") throw error;
    if ((await wholePacked(site)) !== undefined) return;
    await removePacked(site);
    await into();
  });
}

/** In front of the id of the process that packs. */
const STAGING = "staging-";

/** Removes what processes that were killed left of their packing. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (name.startsWith(STAGING) && !isAlive(Number.parseInt(name.slice(STAGING.length), 10)))
      await rm(join(folder, name), { recursive: true, force: true });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Removes what earlier versions of Irori packed and nothing reads any more. */
async function removeOlder(folder: string): Promise<void> {
  const older = (await readdir(folder)).filter((name) => (packVersionOf(name) ?? PACK_VERSION) < PACK_VERSION);
  for (const name of older) await rm(join(folder, name), { recursive: true, force: true });
}

async function pack(site: PackSite, staging: string, manifest: Manifest, largest: Largest): Promise<void> {
  const { folder, runtime, kernels } = site;
  const name = packName(site);
  const raw = locateIn(manifest);
  const { graph, derived } = fold(fuse(wholeOf(manifest), fusionsOf(site, largest)));
  const stagingName = staging.slice(folder.length + 1);
  const { located: derivedAt, written: derivedWritten } = await writeDerived(
    derived,
    folder,
    staging,
    stagingName,
    raw,
    runtime,
  );
  const whole = (weight: string) => derivedAt[weight] ?? raw(weight);
  const { locations, offsetsInside, check, pages } = isPrepacked(manifest, kernels)
    ? await prepack(graph, { folder, staging, locate: whole, runtime })
    : { locations: located([...extentsOf(manifest).keys(), ...Object.keys(derivedAt)], whole), ...NOTHING_INSIDE };
  if (pages !== undefined) await rm(join(staging, DERIVED), { force: true });
  const final: Record<string, WeightLocation> = {};
  for (const [weight, entry] of Object.entries(locations))
    final[weight] = { ...entry, location: (entry.location as string).replace(stagingName, name) };
  const derivedFile = derivedWritten && { ...derivedWritten, name: DERIVED };
  await writePacked(staging, {
    locations: final,
    files: [pages ?? derivedFile].filter((file) => file !== undefined),
    offsetsInside: [...offsetsInside],
    ...(largest.size > 0 && { largest: toTexts(largest) }),
    check: check && { ...stageOf(check.graph, (weight) => final[weight]), expected: check.expected },
  });
}

/** float32 weights have no offsets. */
const NOTHING_INSIDE = { offsetsInside: [], check: undefined, pages: undefined } as const;

const located = (names: readonly string[], locate: (name: string) => WeightLocation | undefined) =>
  Object.fromEntries(names.map((name) => [name, locate(name) as WeightLocation]));

/** So many bytes of derived weights are computed at a time. */
const DERIVED_BYTES = 16 << 20;

/** Computes the derived weights and writes them; where each lies, relative to the prepared folder. */
async function writeDerived(
  derived: Graph,
  folder: string,
  staging: string,
  stagingName: string,
  raw: (name: string) => WeightLocation | undefined,
  runtime: Runtime,
) {
  const located: Record<string, WeightLocation> = {};
  if (Object.keys(derived.outputs).length === 0) return { located, written: undefined };
  await using file = await MappedFileWriter.create(join(staging, DERIVED));
  for (const part of outputParts(derived, DERIVED_BYTES)) {
    await using program = await runtime.compile(onnxBytes(part, { locate: raw }), {
      weightsFolder: folder,
      prepack: false,
      optimization: "off",
      name: "derived weights",
    });
    for (const [name, tensor] of Object.entries(await program.run({}))) {
      const { offset, length } = await file.append(tensor.data as Float32Array | Uint8Array | Int8Array);
      located[name] = { location: `${stagingName}/${DERIVED}`, offset: String(offset), length: String(length) };
      tensor[Symbol.dispose]();
    }
  }
  return { located, written: await file.finish() };
}
