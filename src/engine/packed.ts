// The packed form of a prepared model for one runtime and CPU, as it lies on disk: where every weight's pages are, and Programs' bytes.
// It does not know how it is made (pack.ts): opening a warm model loads neither families nor the tensor floor.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "../runtime/mod.ts";
import type { WeightLocation } from "../tensor/mod.ts";
import type { Manifest } from "./manifest.ts";
import { readSealed, writeSealed } from "./sealed.ts";

/** Changes when the same manifest would be packed differently. */
const PACK_VERSION = 5;

/** Where every weight's pages are: the sealed file that makes a packed folder whole. */
export const PAGES = "pages.json";

export interface Packed {
  /** Folder of the pages and Programs, inside the prepared model's. */
  readonly folder: string;
  /** External-data entries of every weight, with locations relative to the prepared model's folder. */
  readonly locations: Readonly<Record<string, WeightLocation>>;
}

/** Blocks need the kernels' own layout; float32 weights run from the file as they are. */
export const isPrepacked = (manifest: Manifest): boolean => manifest.form === "blocks";

/** Pages fit one version of the runtime on one kind of CPU. */
export const packName = (runtime: Runtime): string =>
  `packed-${PACK_VERSION}-${runtime.version}-${runtime.instructionSet}`;

/** The packed form, or undefined where it is still to be made. */
export async function readPacked(folder: string, runtime: Runtime): Promise<Packed | undefined> {
  const own = join(folder, packName(runtime));
  const bytes = await readSealed(join(own, PAGES));
  if (bytes === undefined) return undefined;
  return { folder: own, locations: JSON.parse(new TextDecoder().decode(bytes)) as Packed["locations"] };
}

/** One stage of a step: ONNX bytes, and the hash of the Graph they came from. Equal Graphs are one Program. */
export interface Stage {
  readonly hash: string;
  readonly bytes: Uint8Array;
}
export interface StepFile {
  readonly stages: readonly Stage[];
}

const stepPath = (folder: string, rows: number): string => join(folder, `step-${rows}.json`);
const stagePath = (folder: string, hash: string): string => join(folder, `stage-${hash.slice(0, 16)}.onnx`);

/** The stages of the step of `rows` rows, where they were written before. Throws "bad-file" where they were damaged. */
export async function readStep(folder: string, runtime: Runtime, rows: number): Promise<StepFile | undefined> {
  const own = join(folder, packName(runtime));
  const list = await readSealed(stepPath(own, rows));
  if (list === undefined) return undefined;
  const hashes = JSON.parse(new TextDecoder().decode(list)) as string[];
  const bytes = await Promise.all(hashes.map((hash) => readSealed(stagePath(own, hash))));
  if (bytes.includes(undefined)) return undefined;
  return { stages: hashes.map((hash, i) => ({ hash, bytes: bytes[i] as Uint8Array })) };
}

/** Keeps the stages of a step beside the pages they name. */
export async function writeStep({ folder }: Packed, rows: number, stages: readonly Stage[]): Promise<StepFile> {
  for (const { hash, bytes } of stages) await writeSealed(stagePath(folder, hash), bytes);
  await writeSealed(stepPath(folder, rows), new TextEncoder().encode(JSON.stringify(stages.map(({ hash }) => hash))));
  return { stages };
}

/** Forgets the packed form, so that it is made anew. */
export const removePacked = (folder: string, runtime: Runtime): Promise<void> =>
  rm(join(folder, packName(runtime)), { recursive: true, force: true });
