// The packed form of a prepared model for one runtime and CPU, as it lies on disk: where every weight's pages are, and Programs' bytes.
// It does not know how it is made (pack.ts): opening a warm model loads neither families nor the tensor floor.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { Runtime } from "../runtime/mod.ts";
import type { WeightLocation } from "../tensor/mod.ts";
import type { KvType } from "./kv-cache.ts";
import type { Manifest } from "./manifest.ts";
import { checkMapped, stampFile, type Written } from "./mapped-check.ts";
import type { Expected } from "./offsets-check.ts";
import { readSealed, writeSealed } from "./sealed.ts";
import type { Reading } from "./text-graph.ts";

/** Changes when the same manifest would be packed differently. */
export const PACK_VERSION = 14;

/** The version in the name of a packed folder; undefined for other names. */
export const packVersionOf = (name: string): number | undefined => {
  const version = /^packed-(\d+)-/.exec(name)?.[1];
  return version === undefined ? undefined : Number(version);
};

/** What the pages hold: the sealed file that makes a packed folder whole. */
const PAGES = "pages.sealed";

/** What is run in one piece: ONNX bytes, and the hash of the Graph they came from. Equal Graphs are one Program. */
export interface Stage {
  readonly hash: string;
  readonly bytes: Uint8Array;
}
/** A Program without inputs, and what it gives where the library uses the pages as they are. */
export interface Check extends Stage {
  readonly expected: Expected;
}
/** What is run one after another. */
export interface StageFile {
  readonly stages: readonly Stage[];
  readonly check: Check | undefined;
}

/** A file of the packed folder that Programs map. */
export interface MappedFile extends Written {
  readonly name: string;
}

interface Pages {
  /** External-data entries of every weight, with locations relative to the prepared model's folder. */
  readonly locations: Readonly<Record<string, WeightLocation>>;
  readonly files: readonly MappedFile[];
  /** Weights (codes) whose pages carry the offsets of their products. */
  readonly offsetsInside: readonly string[];
  /** Of 8-bit integers: how large the inputs of layers were measured to be, by a weight's name, float32 in base64. */
  readonly largest?: Readonly<Record<string, string>> | undefined;
}

/** So much may be lost at most. */
export const MOST_LOSS = 0.005;

/** What the packed form costs, beside the model's own weights. */
export interface Quality {
  /** Growth of perplexity (0.01: by 1 %), or 1 − the mean cosine of vectors. */
  readonly loss: number;
  readonly tokens: number;
}
export interface Packed extends Pages {
  /** Folder of the pages and Programs, inside the prepared model's. */
  readonly folder: string;
  readonly check: Check | undefined;
}

/** What linear layers are computed with: the weights as the prepared form has them, or 8-bit integers. */
export type Kernels = "own" | "int8";

/** A prepared model, and what its packed form is for. */
export interface PackSite {
  /** Of the prepared model. */
  readonly folder: string;
  readonly runtime: Runtime;
  readonly kernels: Kernels;
}

/** What is made of a model over its packed pages: the step of so many rows, or reading whole texts. */
export type Made = { readonly rows: number; readonly kvType: KvType } | Reading;

/** The name that its stages are kept under. */
export const nameOf = (made: Made): string =>
  "rows" in made
    ? `step-${made.rows}${made.kvType === "f32" ? "" : `-${made.kvType}`}`
    : `texts-${made.of}${made.hasTypes ? "-typed" : ""}`;

/** Integer kernels need their own layout; float32 weights run from the file as they are. */
export const isPrepacked = ({ form }: Manifest, kernels: Kernels): boolean => form !== "f32" || kernels === "int8";

/** Pages fit one version of the runtime on one kind of CPU. */
export const packName = ({ runtime, kernels }: PackSite): string =>
  `packed-${PACK_VERSION}-${runtime.version}-${runtime.instructionSet}${kernels === "own" ? "" : `-${kernels}`}`;

/** Whether a folder holds pages that neither this runtime on this CPU reads, nor any form of it. */
export const isPackedElsewhere = (name: string, runtime: PackSite["runtime"]): boolean => {
  const mine = (["own", "int8"] as const).map((kernels) => packName({ folder: "", runtime, kernels }));
  return name.startsWith("packed-") && !mine.includes(name);
};

const programPath = (folder: string, name: string): string => join(folder, `${name}.sealed`);
const stagePath = (folder: string, hash: string): string => join(folder, `stage-${hash.slice(0, 16)}.sealed`);
const filesPath = (folder: string): string => join(folder, "files.sealed");
const qualityPath = (folder: string): string => join(folder, "quality.sealed");
const checkPath = (folder: string): string => join(folder, "check.sealed");

const readJson = async (path: string): Promise<unknown> => {
  const bytes = await readSealed(path);
  return bytes && JSON.parse(new TextDecoder().decode(bytes));
};
const writeJson = (path: string, value: unknown): Promise<void> =>
  writeSealed(path, new TextEncoder().encode(JSON.stringify(value)));

/** The packed form, or undefined where it is still to be made. Throws "bad-file" where it was damaged. */
export async function readPacked(site: PackSite): Promise<Packed | undefined> {
  const own = join(site.folder, packName(site));
  const pages = (await readJson(join(own, PAGES))) as Pages | undefined;
  if (pages === undefined) return undefined;
  await checkFiles(own);
  return { ...pages, folder: own, check: await readCheck(own) };
}

/** Writes what makes a packed folder whole, once its pages are there. */
export async function writePacked(folder: string, packed: Omit<Packed, "folder">): Promise<void> {
  const { check, ...pages } = packed;
  for (const { name } of packed.files) await stampFile(join(folder, name));
  await writeJson(filesPath(folder), packed.files);
  if (check !== undefined) await writeSealed(stagePath(folder, check.hash), check.bytes);
  // written also where there is none: a check that is missing must not pass for one that is not needed
  await writeJson(checkPath(folder), check === undefined ? null : { hash: check.hash, expected: check.expected });
  await writeJson(join(folder, PAGES), pages);
}

/** The files of a packed folder that Programs map. Throws "bad-file" where their list is missing or damaged. */
export async function filesOfPacked(own: string): Promise<readonly MappedFile[]> {
  const files = (await readJson(filesPath(own))) as readonly MappedFile[] | undefined;
  if (files !== undefined) return files;
  throw new IroriError("bad-file", { what: `${own} lacks its list of files`, next: "it is made anew" });
}

async function checkFiles(own: string): Promise<void> {
  await Promise.all((await filesOfPacked(own)).map((file) => checkMapped(join(own, file.name), file)));
}

/** What was measured of the packed form; undefined where nothing was. */
export const readQuality = async (site: PackSite): Promise<Quality | undefined> =>
  (await readJson(qualityPath(join(site.folder, packName(site))))) as Quality | undefined;
export const writeQuality = (site: PackSite, quality: Quality): Promise<void> =>
  writeJson(qualityPath(join(site.folder, packName(site))), quality);

async function readCheck(own: string): Promise<Check | undefined> {
  const check = (await readJson(checkPath(own))) as Omit<Check, "bytes"> | null | undefined;
  if (check === undefined)
    throw new IroriError("bad-file", { what: `${own} lacks its check`, next: "it is made anew" });
  return check === null ? undefined : { ...check, bytes: await readStage(own, check.hash) };
}

async function readStage(own: string, hash: string): Promise<Uint8Array> {
  const bytes = await readSealed(stagePath(own, hash));
  if (bytes !== undefined) return bytes;
  throw new IroriError("bad-file", { what: `${own} lacks the stage ${hash}`, next: "it is made anew" });
}

/** The stages that were written under a name; undefined where none were. Throws "bad-file" where they were damaged. */
export async function readStages(site: PackSite, name: string): Promise<StageFile | undefined> {
  const own = join(site.folder, packName(site));
  const hashes = (await readJson(programPath(own, name))) as readonly string[] | undefined;
  if (hashes === undefined) return undefined;
  const [check, , ...bytes] = await Promise.all([
    readCheck(own),
    checkFiles(own),
    ...hashes.map((hash) => readStage(own, hash)),
  ]);
  return { stages: hashes.map((hash, i) => ({ hash, bytes: bytes[i] as Uint8Array })), check };
}

/** Keeps stages beside the pages they name. */
export async function writeStages(packed: Packed, name: string, stages: readonly Stage[]): Promise<StageFile> {
  for (const { hash, bytes } of stages) await writeSealed(stagePath(packed.folder, hash), bytes);
  const hashes = stages.map(({ hash }) => hash);
  await writeJson(programPath(packed.folder, name), hashes);
  return { stages, check: packed.check };
}

/** Forgets the packed form, so that it is made anew. */
export const removePacked = (site: PackSite): Promise<void> =>
  rm(join(site.folder, packName(site)), { recursive: true, force: true });
