// The packed form of a prepared model for one runtime and CPU, as it lies on disk: where every weight's pages are, and Programs' bytes.
// It does not know how it is made (pack.ts): opening a warm model loads neither families nor the tensor floor.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "../runtime/mod.ts";
import type { WeightLocation } from "../tensor/mod.ts";
import type { Manifest } from "./manifest.ts";
import { readSealed, writeSealed } from "./sealed.ts";

/** Changes when the same manifest would be packed differently. */
const PACK_VERSION = 3;

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

const stepPath = (packed: Packed, rows: number): string => join(packed.folder, `step-${rows}.onnx`);

/** ONNX bytes of the step of `rows` rows, where they were written before. Throws "bad-file" where they were damaged. */
export const readStep = (folder: string, runtime: Runtime, rows: number): Promise<Uint8Array | undefined> =>
  readSealed(stepPath({ folder: join(folder, packName(runtime)), locations: {} }, rows));

/** Keeps the bytes of a step beside the pages they name. */
export const writeStep = (packed: Packed, rows: number, bytes: Uint8Array): Promise<void> =>
  writeSealed(stepPath(packed, rows), bytes);

/** Forgets the packed form, so that it is made anew. */
export const removePacked = (folder: string, runtime: Runtime): Promise<void> =>
  rm(join(folder, packName(runtime)), { recursive: true, force: true });
