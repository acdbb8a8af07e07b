// Packing a prepared model for this runtime and CPU: derived weights and prepacked pages that every Program maps, and the Programs' bytes.
// It does not know checkpoints or requests.
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { decoderNamed } from "../models/mod.ts";
import type { Runtime } from "../runtime/mod.ts";
import {
  type Fusion,
  fold,
  fuse,
  fusions,
  type Graph,
  graphHash,
  int8Fusions,
  onnxBytes,
  rewrite,
  type WeightLocation,
  withOffsetsInside,
} from "../tensor/mod.ts";
import { changedGraph, type Shapes, type StepChange } from "./changed-step.ts";
import { extentsOf, locateIn, type Manifest } from "./manifest.ts";
import { MappedFileWriter } from "./mapped-file.ts";
import {
  isPrepacked,
  type Kernels,
  PACK_VERSION,
  type Packed,
  type PackSite,
  packName,
  packVersionOf,
  readPacked,
  removePacked,
  type Stage,
  type StepFile,
  writePacked,
  writeStep,
} from "./packed.ts";
import { prepack, readBy } from "./prepack.ts";
import { stagesOf, stepGraph } from "./step.ts";
import { storedWeights } from "./stored-weight.ts";

const FUSIONS: Readonly<Record<Kernels, readonly Fusion[]>> = { own: fusions, int8: int8Fusions };

/** Weights computed from others, before they are prepacked. */
const DERIVED = "derived.bin";

/** The step of a prepared model, over the arrays of its weights file. */
const stepOf = (manifest: Manifest, rows: number): Graph =>
  stepGraph(decoderNamed(manifest.family), manifest.config, storedWeights(manifest), rows);

/** The stages of a step, packing the model first where this runtime and CPU have not seen it; kept for the next time. */
export async function makeStep(site: PackSite, manifest: Manifest, rows: number): Promise<StepFile> {
  const packed = (await wholePacked(site)) ?? (await packModel(site, manifest));
  const offsetsInside = new Set(packed.offsetsInside);
  const stages = stagesOf(stepOf(manifest, rows), manifest.config, FUSIONS[site.kernels]).map((stage) =>
    stageOf(withOffsetsInside(fold(stage).graph, offsetsInside), (name) => packed.locations[name]),
  );
  return writeStep(packed, rows, stages);
}

/** A step that is changed or read inside: its stages, and the shapes at its HookPoints. */
export interface ChangedStep extends StepFile {
  readonly shapes: Shapes;
}

/** The step of one row with changes, over the same pages as the others. */
export async function makeChanged(site: PackSite, manifest: Manifest, change: StepChange): Promise<ChangedStep> {
  const packed = (await wholePacked(site)) ?? (await packModel(site, manifest));
  const headWeight = decoderNamed(manifest.family).head.weight(manifest.config);
  const { graph, shapes } = changedGraph(stepOf(manifest, 1), change, headWeight);
  const raw = locateIn(manifest);
  const stages = stagesOf(graph, manifest.config, FUSIONS[site.kernels]).map((stage) =>
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

async function packModel(site: PackSite, manifest: Manifest): Promise<Packed> {
  const { folder } = site;
  await removeLeftovers(folder);
  const staging = join(folder, `${STAGING}${process.pid}-${randomUUID()}`);
  await mkdir(staging);
  try {
    await pack(site, staging, manifest);
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

async function pack(site: PackSite, staging: string, manifest: Manifest): Promise<void> {
  const { folder, runtime, kernels } = site;
  const name = packName(site);
  const raw = locateIn(manifest);
  const { graph, derived } = fold(fuse(stepOf(manifest, 1), FUSIONS[kernels]));
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
    check: check && { ...stageOf(check.graph, (weight) => final[weight]), expected: check.expected },
  });
}

/** float32 weights have no offsets. */
const NOTHING_INSIDE = { offsetsInside: [], check: undefined, pages: undefined } as const;

const located = (names: readonly string[], locate: (name: string) => WeightLocation | undefined) =>
  Object.fromEntries(names.map((name) => [name, locate(name) as WeightLocation]));

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
  const bytes = onnxBytes(derived, { locate: raw });
  await using program = await runtime.compile(bytes, {
    weightsFolder: folder,
    prepack: false,
    optimization: "off",
    name: "derived weights",
  });
  const values = await program.run({});
  await using file = await MappedFileWriter.create(join(staging, DERIVED));
  for (const [name, tensor] of Object.entries(values)) {
    const data = tensor.data as Float32Array | Uint8Array | Int8Array;
    const { offset, length } = await file.append(data);
    located[name] = { location: `${stagingName}/${DERIVED}`, offset: String(offset), length: String(length) };
    tensor[Symbol.dispose]();
  }
  return { located, written: await file.finish() };
}
