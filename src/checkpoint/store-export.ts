// A model and its prepared forms as one file, and such a file as a model: a zip archive of stored members with an index, each by
// its hash. Nothing of a file is believed: names, lengths and hashes are compared before the model is there.

import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cancelled, IroriError } from "../base/mod.ts";
import { Archive } from "./archive.ts";
import type { ArchiveMember } from "./archive-directory.ts";
import { ArchiveWriter } from "./archive-writer.ts";
import { bytesOf, type Content, type ContentFile, contentIdOf } from "./content.ts";
import { type ExportIndex, INDEX, indexBytes, mostIndexBytes, parseIndex } from "./export-index.ts";
import { ModelFile } from "./model-file.ts";
import type { PullOptions } from "./pull-options.ts";
import { quoted } from "./quoted.ts";
import { checkRoom, exists, writing } from "./store-disk.ts";
import { lockIn, type Place, type WorkOptions, writeIn } from "./store-place.ts";
import { preparedFolder, writePrepared } from "./store-prepared.ts";
import { commitContent, contentOf, wholeReference } from "./store-pull.ts";
import { contentPath, type Reference } from "./store-reference.ts";
import { requireTerms } from "./store-terms.ts";

const pieceBytes = 4 << 20;

export interface ExportOptions extends WorkOptions {
  readonly forms: readonly string[];
}

/** Writes the file beside and renames it: it is whole or absent. */
export async function exportModel(
  place: Place,
  reference: Reference,
  path: string,
  { forms, signal, onProgress }: ExportOptions,
): Promise<{ readonly bytes: number }> {
  if (await exists(path)) throw new IroriError("bad-input", { what: `${path} exists`, next: "choose another name" });
  const sources = await sourcesOf(place, reference, forms);
  const total = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  const intent = { disk: place.disk, folder: dirname(path), writing: path, neededBytes: total };
  const beside = `${path}.${process.pid}.part`;
  try {
    return await writing(intent, async () => {
      await checkRoom(intent);
      await using archive = await ArchiveWriter.create(place.disk, beside);
      let before = 0;
      const onBytes = (done: number) =>
        onProgress?.({ step: "export", item: reference.name, done: before + done, total, unit: "bytes" });
      const written: Written[] = [];
      for (const source of sources) {
        const member = await archive.add(source.member, source.bytes, chunksOf(source.path, onBytes, signal));
        written.push({ ...source, ...member });
        before += source.bytes;
      }
      const index = Buffer.from(indexBytes(indexOf(reference, forms, written)));
      await archive.add(INDEX, index.length, one(index));
      await archive.finish();
      await rename(beside, path);
      return { bytes: (await stat(path)).size };
    });
  } finally {
    await rm(beside, { force: true });
  }
}

interface Part {
  /** undefined: of the content. */
  readonly form: string | undefined;
  readonly name: string;
  readonly member: string;
  readonly path: string;
  readonly bytes: number;
}
type Written = Part & { readonly sha256: string };

/** What is made again for each runtime and CPU, and what says of a file on this disk that it is whole, stay here. */
const isPortable = (name: string): boolean => !name.endsWith(".stamp");

async function sourcesOf(place: Place, reference: Reference, forms: readonly string[]): Promise<Part[]> {
  const root = contentPath(place.home, reference);
  const parts: Part[] = [];
  for (const name of await namesOf(reference, root)) {
    const path = join(root, name);
    parts.push({
      form: undefined,
      name,
      member: name === "" ? "model" : `model/${name}`,
      path,
      bytes: (await stat(path)).size,
    });
  }
  for (const form of forms) {
    const folder = preparedFolder(place, { contentId: reference.contentId, form });
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (!entry.isFile() || !isPortable(entry.name)) continue;
      const path = join(folder, entry.name);
      parts.push({
        form,
        name: entry.name,
        member: `prepared/${form}/${entry.name}`,
        path,
        bytes: (await stat(path)).size,
      });
    }
  }
  return parts;
}

/** The content's files; of a folder in place those that a model is read from. */
async function namesOf(reference: Reference, root: string): Promise<readonly string[]> {
  if (reference.place.kind !== "in-place") return contentOf(reference).files.map(({ name }) => name);
  const { namesOfFiles } = await import("./source-file.ts");
  return await namesOfFiles(root);
}

function indexOf(reference: Reference, forms: readonly string[], written: readonly Written[]): ExportIndex {
  const { name, source, license, family, description, system, pulledAt } = reference;
  const files = (of: string | undefined): ContentFile[] =>
    written.filter(({ form }) => form === of).map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 }));
  const content = files(undefined);
  return {
    format: 1,
    model: { name, source, license, family, description, system, pulledAt },
    content: { layout: content.length === 1 && content[0]?.name === "" ? "file" : "folder", files: content },
    forms: forms.map((form) => ({ form, files: files(form) })),
  };
}

async function* chunksOf(
  path: string,
  onBytes: (done: number) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  await using file = await ModelFile.open(path);
  for (let at = 0; at < file.size; at += pieceBytes) {
    if (signal?.aborted) throw cancelled(`reading ${path}`, signal);
    const piece = await file.read(at, Math.min(pieceBytes, file.size - at));
    yield piece;
    onBytes(at + piece.length);
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export interface ImportOptions extends WorkOptions, Pick<PullOptions, "acceptsTerms"> {
  /** Throws "bad-file" where a prepared form cannot be used here: it is made anew when it is wanted. */
  readonly check: (folder: string) => Promise<void>;
}

export interface Imported {
  readonly reference: Reference;
  readonly forms: readonly string[];
  /** Forms that were in the file and cannot be used here. */
  readonly left: readonly { readonly form: string; readonly why: string }[];
}

export async function importModel(place: Place, path: string, options: ImportOptions): Promise<Imported> {
  await using archive = await Archive.open(path);
  const index = await readIndex(archive, path);
  const { content, model } = index;
  const contentId = contentIdOf(content);
  const entry = place.catalog.find(({ name }) => name === model.name);
  if (entry !== undefined && contentIdOf(entry) !== contentId)
    throw new IroriError("bad-file", {
      what: `${path}: ${model.name} is a name of the catalog, and these are other bytes`,
      got: contentId,
      wanted: contentIdOf(entry),
      next: "it is refused",
    });
  await requireTerms(place, entry, options);
  const total = bytesOf(content) + index.forms.reduce((sum, { files }) => sum + bytesOf({ files }), 0);
  await checkRoom({ disk: place.disk, folder: place.home, writing: model.name, neededBytes: total });
  const unpack = new Unpacking(place, archive, path, { ...options, item: model.name, total });
  const reference = await bringContent(place, index, contentId, unpack, options);
  const forms: string[] = [];
  const left: { form: string; why: string }[] = [];
  for (const { form, files } of index.forms) {
    const write = async (folder: string) => {
      for (const file of files) await unpack.file(`prepared/${form}/${file.name}`, file, join(folder, file.name));
      await options.check(folder);
    };
    try {
      await writePrepared(place, { contentId, form }, write, undefined, {
        signal: options.signal ?? new AbortController().signal,
        onProgress: options.onProgress ?? (() => {}),
      });
      forms.push(form);
    } catch (error) {
      if (!(error instanceof IroriError && error.code === "bad-file")) throw error;
      left.push({ form, why: error.message });
    }
  }
  return { reference, forms, left };
}

async function bringContent(
  place: Place,
  { content, model }: ExportIndex,
  contentId: string,
  unpack: Unpacking,
  options: WorkOptions,
): Promise<Reference> {
  await using lock = await lockIn(place, `model-${model.name}`, options);
  const known = await wholeReference(place, model.name);
  if (known?.contentId === contentId) return known;
  if (known !== undefined)
    throw new IroriError("bad-input", {
      what: `another model named ${model.name} is here`,
      got: known.source,
      wanted: model.source,
      next: `\`irori rm ${model.name}\` removes it`,
    });
  const root = join(lock.folder, "content");
  for (const file of content.files)
    await unpack.file(file.name === "" ? "model" : `model/${file.name}`, file, join(root, file.name));
  const { layout, files } = content;
  const reference: Reference = {
    format: 1,
    ...(JSON.parse(JSON.stringify(model)) as ExportIndex["model"]), // without members that are not there
    bytes: bytesOf(content),
    ...(layout === "file" && { sha256: contentId }),
    contentId,
    ...(layout === "folder" && { files }),
    place: { kind: layout === "file" ? "blob" : "folder" },
  } as Reference;
  await commitContent(place, reference, { layout, files, path: root } satisfies Content & { path: string });
  return reference;
}

async function readIndex(archive: Archive, path: string): Promise<ExportIndex> {
  const member = archive.members.find(({ name }) => name === INDEX);
  if (member === undefined || member.refused !== undefined)
    throw new IroriError("bad-file", {
      what: `${path}: ${INDEX} in it`,
      got: member?.refused ?? "none",
      wanted: "a file that `irori export` wrote",
    });
  if (member.bytes > mostIndexBytes)
    throw new IroriError("bad-file", {
      what: `${path}: ${INDEX}`,
      got: `${member.bytes} bytes`,
      wanted: `at most ${mostIndexBytes}`,
    });
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive.read(member)) chunks.push(chunk);
  return await parseIndex(`${path}: ${INDEX}`, Buffer.concat(chunks));
}

interface UnpackingOptions extends WorkOptions {
  readonly item: string;
  readonly total: number;
}

/** Members as files that have the hashes that the index says. */
class Unpacking {
  readonly #place: Place;
  readonly #archive: Archive;
  readonly #path: string;
  readonly #options: UnpackingOptions;
  #done = 0;

  constructor(place: Place, archive: Archive, path: string, options: UnpackingOptions) {
    this.#place = place;
    this.#archive = archive;
    this.#path = path;
    this.#options = options;
  }

  async file(name: string, wanted: ContentFile, target: string): Promise<void> {
    const member = this.#member(name, wanted);
    const { createHash } = await import("node:crypto");
    const { signal, onProgress, item, total } = this.#options;
    const hash = createHash("sha256");
    await writeIn(this.#place, item, async () => {
      await mkdir(dirname(target), { recursive: true });
      const file = await this.#place.disk.create(target);
      try {
        for await (const chunk of this.#archive.read(member, signal)) {
          hash.update(chunk);
          await file.write(chunk);
          this.#done += chunk.length;
          onProgress?.({ step: "import", item, done: this.#done, total, unit: "bytes" });
        }
        await file.sync();
      } finally {
        await file.close();
      }
    });
    const sha256 = hash.digest("hex");
    if (sha256 !== wanted.sha256) throw this.#bad(`${quoted(name)}: sha256`, sha256, wanted.sha256);
  }

  #member(name: string, { bytes }: ContentFile): ArchiveMember {
    const member = this.#archive.members.find((each) => each.name === name);
    if (member === undefined) throw this.#bad(`${quoted(name)} in it`, "none", "one");
    if (member.refused !== undefined) throw this.#bad(quoted(name), member.refused, "a plain file");
    if (member.bytes !== bytes) throw this.#bad(`${quoted(name)}: its bytes`, member.bytes, bytes);
    return member;
  }

  #bad(what: string, got: string | number, wanted: string | number): IroriError {
    return new IroriError("bad-file", { what: `${this.#path}: ${what}`, got, wanted, next: "export it again" });
  }
}
