// The packed form of a prepared model for one runtime and CPU, as it lies on disk: where every weight's pages are, and Programs' bytes.
// It does not know how it is made (pack.ts): opening a warm model loads neither families nor the tensor floor.
import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "../runtime/mod.ts";
import type { WeightLocation } from "../tensor/mod.ts";
import type { Manifest } from "./manifest.ts";

/** Changes when the same manifest would be packed differently. */
const PACK_VERSION = 2;

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

const absent = (error: NodeJS.ErrnoException): undefined => {
  if (error.code === "ENOENT") return undefined;
  throw error;
};

/** The packed form, or undefined where it is still to be made. */
export async function readPacked(folder: string, runtime: Runtime): Promise<Packed | undefined> {
  const own = join(folder, packName(runtime));
  const text = await readFile(join(own, "pages.json"), "utf8").catch(absent);
  return text === undefined ? undefined : { folder: own, locations: JSON.parse(text) as Packed["locations"] };
}

const stepPath = (packed: Packed, rows: number): string => join(packed.folder, `step-${rows}.onnx`);

/** ONNX bytes of the step of `rows` rows, where they were written before. */
export const readStep = (folder: string, runtime: Runtime, rows: number): Promise<Uint8Array | undefined> =>
  readFile(stepPath({ folder: join(folder, packName(runtime)), locations: {} }, rows)).catch(absent);

/** Keeps the bytes of a step beside the pages they name. */
export async function writeStep(packed: Packed, rows: number, bytes: Uint8Array): Promise<void> {
  const path = stepPath(packed, rows);
  const beside = `${path}.${randomUUID()}`;
  await writeFile(beside, bytes, { flush: true });
  await rename(beside, path);
}
