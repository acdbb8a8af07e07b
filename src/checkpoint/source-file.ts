// What a file or folder on this disk is: its bytes, its identity by content, and a cheap stamp that tells a change.
// It copies nothing and does not know what the files mean.

import { createHash } from "node:crypto";
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import { contentIdOf } from "./content.ts";
import { diskCall, ModelFile } from "./model-file.ts";

/** Below this a file is hashed whole; above, its length, time, head and tail stand for it. */
const wholeHashBytes = 1_000_000_000;
const endBytes = 1 << 20;
const pieceBytes = 1 << 20;
const modelFiles = /\.(safetensors|gguf|json|jinja|model|txt)$/i;
/** sentence-transformers keeps a module in each of these. */
const moduleFolder = /^\d+_[A-Za-z]+$/;

export interface FileIdentity {
  /** The real path, links resolved. */
  readonly path: string;
  readonly bytes: number;
  /** Changes whenever a file's length, times or inode do: equal stamps need no new hashing. */
  readonly stamp: string;
  /** Newest change in ms: a stamp made in the same instants may miss the next change. */
  readonly changedMs: number;
}

export interface FileContent {
  /** Equal for equal content. */
  readonly contentId: string;
  /** Of the file, where it is one file and was hashed whole. */
  readonly sha256?: string;
}

export interface HashOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export async function identifyFile(path: string): Promise<FileIdentity> {
  const real = await diskCall(path, () => realpath(path));
  const files = await filesOf(real);
  const stamp = files.map((file) => [file.name, file.bytes, file.time, file.changed, file.inode].join(":")).join("|");
  const changedMs = Math.max(0, ...files.map(({ changed }) => Number(changed / 1_000_000n)));
  return { path: real, bytes: files.reduce((sum, file) => sum + file.bytes, 0), stamp: sha256(stamp), changedMs };
}

export async function hashContent(path: string, options: HashOptions = {}): Promise<FileContent> {
  const files = await filesOf(path);
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  const report = (bytes: number) => {
    done += bytes;
    options.onProgress?.({ step: "verify", item: path, done, total, unit: "bytes" });
  };
  const parts: string[] = [];
  for (const file of files) parts.push(await contentOf(file, options.signal, report));
  const [only] = files;
  if (only?.name === "" && only.bytes < wholeHashBytes) return { contentId: parts[0]!, sha256: parts[0]! };
  return {
    contentId: contentIdOf({
      layout: "folder",
      files: files.map(({ name, bytes }, i) => ({ name, bytes, sha256: parts[i] as string })),
    }),
  };
}

interface FoundFile {
  /** "" where the path itself is the file. */
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  /** Of the content, and of content or attributes, in ns. */
  readonly time: bigint;
  readonly changed: bigint;
  readonly inode: bigint;
}

async function filesOf(path: string): Promise<FoundFile[]> {
  const info = await diskCall(path, () => stat(path, { bigint: true }));
  const found = (name: string, at: string, { size, mtimeNs, ctimeNs, ino }: typeof info): FoundFile => {
    return { name, path: at, bytes: Number(size), time: mtimeNs, changed: ctimeNs, inode: ino };
  };
  if (info.isFile()) return [found("", path, info)];
  if (!info.isDirectory()) throw new IroriError("bad-input", { what: `${path}: neither a file nor a folder` });
  const names = (await diskCall(path, () => readdir(path))).sort();
  for (const folder of names.filter((name) => moduleFolder.test(name)))
    if ((await diskCall(folder, () => stat(join(path, folder)))).isDirectory())
      for (const name of (await diskCall(folder, () => readdir(join(path, folder)))).sort())
        names.push(`${folder}/${name}`);
  const files: FoundFile[] = [];
  for (const name of names) {
    const at = join(path, name);
    const inner = modelFiles.test(name) ? await diskCall(at, () => stat(at, { bigint: true })) : undefined;
    if (inner?.isFile()) files.push(found(name, at, inner));
  }
  return files;
}

/** The files that a model at this path is read from, by their names; "" where it is one file. */
export async function namesOfFiles(path: string): Promise<string[]> {
  return (await filesOf(path)).map(({ name }) => name);
}

/** SHA-256 of the file, or of its length, time, head and tail where it is large. */
async function contentOf(
  file: FoundFile,
  signal: AbortSignal | undefined,
  report: (bytes: number) => void,
): Promise<string> {
  await using opened = await ModelFile.open(file.path);
  const hash = createHash("sha256");
  if (file.bytes < wholeHashBytes) {
    await hashRange(opened, hash, 0, file.bytes, signal, report);
  } else {
    hash.update(`${file.bytes}:${file.time}:`);
    await hashRange(opened, hash, 0, endBytes, signal, report);
    await hashRange(opened, hash, file.bytes - endBytes, file.bytes, signal, report);
  }
  return hash.digest("hex");
}

async function hashRange(
  file: ModelFile,
  hash: ReturnType<typeof createHash>,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
  report: (bytes: number) => void,
): Promise<void> {
  for (let at = from; at < to; at += pieceBytes) {
    if (signal?.aborted) throw cancelled(`hashing ${file.path}`, signal);
    const piece = await file.read(at, Math.min(pieceBytes, to - at));
    hash.update(piece);
    report(piece.length);
  }
}

/** SHA-256 of a whole file, whatever its length. */
export async function hashFile(path: string, options: HashOptions = {}): Promise<string> {
  await using file = await ModelFile.open(path);
  const hash = createHash("sha256");
  let done = 0;
  await hashRange(file, hash, 0, file.size, options.signal, (bytes) => {
    done += bytes;
    options.onProgress?.({ step: "verify", item: path, done, total: file.size, unit: "bytes" });
  });
  return hash.digest("hex");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
