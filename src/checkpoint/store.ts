// The store of models on this disk: pulled once, found by name, with room for their prepared forms. Whatever is
// visible in it is whole. It does not know formats, families or what a prepared form holds.

import { mkdir, realpath, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Flights, IroriError, nearest } from "../base/mod.ts";
import { type CatalogEntry, catalog } from "./catalog.ts";
import { diskCall } from "./model-file.ts";
import type { PullOptions } from "./pull-options.ts";
import { quoted } from "./quoted.ts";
import { type FileSource, formatSource, modelName, parseSource, type Source, sourceForms } from "./source.ts";
import { hashContent, hashFile } from "./source-file.ts";
import { type Alias, aliasNames, readAlias, removeAlias, writeAlias } from "./store-alias.ts";
import { bytesUnder, type Disk, exists, realDisk } from "./store-disk.ts";
import type { ExportOptions, Imported, ImportOptions } from "./store-export.ts";
import { type Lock, sweep } from "./store-lock.ts";
import { lockIn, type Place, publish, storeFolders, type WorkOptions, writeIn } from "./store-place.ts";
import * as prepared from "./store-prepared.ts";
import { findLeftovers, type Leftover, removeLeftovers } from "./store-prune.ts";
import { contentOf, noteFile, pullContent, wholeReference } from "./store-pull.ts";
import { contentPath, type Reference, readReference, referenceNames, referencePath } from "./store-reference.ts";
import { requireTerms } from "./store-terms.ts";
import { forgetUse, lastUse, noteUse } from "./store-used.ts";

export interface StoreOptions {
  /** Milliseconds since 1970; default the machine's. */
  readonly clock?: () => number;
  /** How long another process may hold a model without a sign of work before waiting ends in an error. */
  readonly patienceMs?: number;
  readonly catalog?: readonly CatalogEntry[];
  readonly disk?: Disk;
}

export interface StoredModel {
  readonly name: string;
  /** As parseSource reads it. */
  readonly source: string;
  /** The file or folder to give to openCheckpoint. */
  readonly path: string;
  readonly bytes: number;
  /** Of the file; absent for folders and for files in place of a gigabyte or more. */
  readonly sha256?: string;
  /** Equal for equal content: what prepared forms are keyed by. */
  readonly contentId: string;
  /** SPDX identifier. */
  readonly license?: string;
  readonly family?: string;
  readonly description?: string;
  /** What the model's maker puts in front of a chat. */
  readonly system?: string;
  /** Milliseconds since 1970. */
  readonly pulledAt: number;
  /** True for `file:` models: they stay where they are. */
  readonly isInPlace: boolean;
}

/** What was removed, or would be. */
export interface Pruned {
  readonly models: readonly { readonly name: string; readonly bytes: number }[];
  readonly leftovers: readonly Leftover[];
}

export interface PruneOptions {
  /** Default: all models are. */
  readonly isKept?: (model: StoredModel) => boolean;
  /** Of a folder's name inside a prepared form: nothing reads it any more. Default: none is. */
  readonly isStale?: (name: string) => boolean;
  /** Tells what would go, and removes nothing. */
  readonly isDryRun?: boolean;
}

export interface ImportedModel extends Omit<Imported, "reference"> {
  readonly model: StoredModel;
}

/** What prepared forms are keyed by. */
type Keyed = Pick<StoredModel, "contentId">;

export class Store {
  readonly home: string;
  private readonly place: Place;
  private readonly flights = new Flights();

  private constructor(place: Place) {
    this.home = place.home;
    this.place = place;
  }

  /** Opens the store in folder `home`, which is made where it is missing, and removes what dead processes left. */
  static async open(home: string, options: StoreOptions = {}): Promise<Store> {
    const defaults = { clock: Date.now, patienceMs: 10 * 60_000, catalog, disk: realDisk };
    const place: Place = { ...defaults, ...options, home: resolve(home) };
    await writeIn(place, "the store's folders", async () => {
      for (const name of storeFolders) await mkdir(join(place.home, name), { recursive: true });
      await sweep(place.home, place.clock);
    });
    return new Store(place);
  }

  /** The model of a source, fetched where it is not here yet; one download for any number of callers and processes. */
  async pull(source: Source | string, options: PullOptions = {}): Promise<StoredModel> {
    const wanted = typeof source === "string" ? await this.resolve(source) : source;
    const name = await this.nameOf(wanted);
    if (wanted.kind === "file") {
      await this.requireFile(wanted);
      const note = (work: WorkOptions) => noteFile(this.place, wanted.path, work);
      return this.model(await this.flights.run(`pull ${name}`, options, note));
    }
    const entry = wanted.kind === "catalog" ? this.entry(wanted.name) : undefined;
    const known = await wholeReference(this.place, name);
    if (known) return this.model(known);
    const fetched = await this.flights.run(`pull ${name}`, options, (work) => {
      return pullContent(this.place, { ...work, name, source: wanted, entry, options });
    });
    return this.model(fetched);
  }

  /** Asks for the terms of a model that is not here yet, so that none are asked in the middle of work. Throws "bad-input" where they are not accepted. */
  async requireTerms(nameOrSource: string, options: Pick<PullOptions, "acceptsTerms">): Promise<void> {
    if ((await this.find(nameOrSource)) !== undefined) return;
    const source = await this.resolve(nameOrSource);
    if (source.kind === "catalog") await requireTerms(this.place, this.entry(source.name), options);
  }

  /** Fetches the bytes of a model that is here again: they take the place of damaged ones when they are whole, and not before. */
  async pullAgain(
    { name, source }: Pick<StoredModel, "name" | "source">,
    options: PullOptions = {},
  ): Promise<StoredModel> {
    const wanted = parseSource(source);
    const entry = wanted.kind === "catalog" ? this.entry(wanted.name) : undefined;
    const known = await readReference(this.home, name);
    const prefers = known?.files === undefined ? "gguf" : "safetensors"; // as it was chosen before
    const fetched = await this.flights.run(`pull ${name} again`, options, (work) => {
      const request = { ...work, name, source: wanted, entry, options: { ...options, prefers } as const };
      return pullContent(this.place, { ...request, isAgain: true });
    });
    return this.model(fetched);
  }

  /** A name of one's own for a model; one of the same name gives way. Throws "bad-input" for a name that a model has. */
  async setAlias(alias: Omit<Alias, "format">): Promise<void> {
    const { name } = alias;
    const base = await this.aliasOf(alias.from);
    const source = parseSource(base?.from ?? alias.from);
    const isTaken = this.place.catalog.some((each) => each.name === name) || (await readReference(this.home, name));
    if (isTaken)
      throw new IroriError("bad-input", { what: `${quoted(name)} is the name of a model`, wanted: "another name" });
    // an alias of an alias is one of its model, with what both say
    const from =
      source.kind === "file" ? formatSource({ kind: "file", path: resolve(source.path) }) : formatSource(source);
    const { format: _, name: __, from: ___, ...said } = base ?? { format: 1, name, from };
    await writeAlias(this.place, { format: 1, ...said, ...alias, from });
  }

  async aliases(): Promise<Alias[]> {
    const all: Alias[] = [];
    for (const name of await aliasNames(this.place)) {
      const alias = await readAlias(this.place, name);
      if (alias) all.push(alias); // removed meanwhile otherwise
    }
    return all;
  }

  /** The alias of a name, where it is one. */
  async aliasOf(text: string): Promise<Alias | undefined> {
    const source = parseSource(text);
    return source.kind === "catalog" ? await readAlias(this.place, source.name) : undefined;
  }

  async list(): Promise<StoredModel[]> {
    const models: StoredModel[] = [];
    for (const name of await referenceNames(this.home)) {
      const reference = await readReference(this.home, name);
      if (reference) models.push(this.model(reference)); // removed meanwhile otherwise
    }
    return models;
  }

  /** A model that was pulled, by its name or source; undefined where its file is gone or has changed since. */
  async find(nameOrSource: string): Promise<StoredModel | undefined> {
    const source = parseSource((await this.aliasOf(nameOrSource))?.from ?? nameOrSource);
    const reference = await wholeReference(this.place, await this.nameOf(source));
    return reference && this.model(reference);
  }

  /** A model that was pulled, by its name or source, whether its bytes are whole or not. */
  async listed(nameOrSource: string): Promise<StoredModel | undefined> {
    const source = parseSource((await this.aliasOf(nameOrSource))?.from ?? nameOrSource);
    const reference = await readReference(this.home, await this.nameOf(source));
    return reference && this.model(reference);
  }

  /** Forgets a model and frees what no other model uses, or forgets an alias alone. A file in place is never deleted. */
  async remove(nameOrSource: string): Promise<{ readonly freedBytes: number }> {
    const alias = await this.aliasOf(nameOrSource);
    if (alias && (await removeAlias(this.place, alias.name))) return { freedBytes: 0 };
    const name = await this.nameOf(parseSource(nameOrSource));
    const path = referencePath(this.home, name);
    await using _model = await lockIn(this.place, `model-${name}`);
    await using commit = await lockIn(this.place, "commit");
    if (!(await exists(path))) {
      const got = (await referenceNames(this.home)).join(", ") || "an empty store";
      throw new IroriError("not-found", { what: `${quoted(nameOrSource)} is not in the store`, got });
    }
    const reference = await readReference(this.home, name).catch((error: unknown) => {
      if (error instanceof IroriError && error.code === "bad-file") return undefined; // removing it is what that advises
      throw error;
    });
    const others = await this.otherReferences(name);
    return await writeIn(this.place, `the removal of ${name}`, async () => {
      const freedBytes = await bytesUnder(path);
      await rm(path);
      await forgetUse(this.place, name);
      return { freedBytes: freedBytes + (reference ? await this.free(reference, others, commit) : 0) };
    });
  }

  /**
   * What nobody needs: broken-off downloads, bytes and prepared forms without a name, folders inside prepared forms that are
   * stale, and models that are not kept. Unless it is a dry run, it is gone when this returns.
   */
  async prune({ isKept = () => true, isStale = () => false, isDryRun = false }: PruneOptions = {}): Promise<Pruned> {
    const models = (await this.list()).filter((model) => !isKept(model));
    const gone = new Set(models.map(({ name }) => name));
    const removed: { name: string; bytes: number }[] = [];
    for (const { name } of models) if (!isDryRun) removed.push({ name, bytes: (await this.remove(name)).freedBytes });
    await using commit = await lockIn(this.place, "commit");
    const references = await this.references();
    const leftovers = await findLeftovers(this.place, references, isStale);
    if (!isDryRun) await removeLeftovers(this.place, leftovers, commit);
    else
      for (const model of models)
        removed.push({ name: model.name, bytes: await this.bytesOf(model, references, gone) });
    return { models: removed, leftovers };
  }

  /** What removing a model frees, `gone` ones beside it. */
  private async bytesOf(
    model: StoredModel,
    references: readonly Reference[],
    gone: ReadonlySet<string>,
  ): Promise<number> {
    const { name, contentId, path, isInPlace } = model;
    const isShared = references.some((other) => !gone.has(other.name) && other.contentId === contentId);
    let bytes = await bytesUnder(referencePath(this.home, name));
    if (!isInPlace && !isShared) bytes += await bytesUnder(path);
    if (!isShared)
      for (const form of await this.forms(model)) bytes += await bytesUnder(this.preparedFolder(model, form));
    return bytes;
  }

  /** Notes that a model is used now; false where the store cannot be written. */
  async noteUse({ name }: Pick<StoredModel, "name">): Promise<boolean> {
    return await noteUse(this.place, name);
  }

  /** Milliseconds since 1970; undefined where the model was never opened. */
  async lastUse({ name }: Pick<StoredModel, "name">): Promise<number | undefined> {
    return await lastUse(this.place, name);
  }

  /** The prepared forms of a model that are here. */
  async forms({ contentId }: Keyed): Promise<string[]> {
    return await prepared.formsOf(this.place, contentId);
  }

  /** Writes a model and some of its prepared forms into one file, which must not exist. */
  async exportTo(model: StoredModel, path: string, options: ExportOptions): Promise<{ readonly bytes: number }> {
    const [reference, { exportModel }] = await Promise.all([
      readReference(this.home, model.name),
      import("./store-export.ts"),
    ]);
    if (reference === undefined)
      throw new IroriError("not-found", { what: `${quoted(model.name)} is not in the store` });
    return await exportModel(this.place, reference, path, options);
  }

  /** The model of a file that `exportTo` wrote. Throws "bad-file" for any other, and changes nothing then. */
  async importFrom(path: string, options: ImportOptions): Promise<ImportedModel> {
    const { importModel } = await import("./store-export.ts");
    const { reference, ...rest } = await importModel(this.place, path, options);
    return { model: this.model(reference), ...rest };
  }

  /** Hashes the model again; anything but the bytes that were pulled is a bad-file error. */
  async verify(model: StoredModel, options: WorkOptions = {}): Promise<void> {
    const { path, isInPlace, contentId, name } = model;
    const reference = isInPlace ? undefined : await readReference(this.home, name);
    const files = reference ? contentOf(reference).files : undefined;
    const next = isInPlace ? "pull it again" : `remove it (irori rm ${name}) and pull it again`;
    const same = (at: string, got: string, wanted: string) => {
      if (got === wanted) return;
      throw new IroriError("bad-file", { what: `${at}: sha256 of its content`, got, wanted, next });
    };
    if (files === undefined) same(path, (await hashContent(path, options)).contentId, contentId);
    for (const { name: inner, sha256 } of files ?? []) {
      const at = join(path, inner);
      same(at, await hashFile(at, options), sha256);
    }
  }

  /** Where the prepared form of a model lies once it is written. `form` is a short word such as f32 or q4. */
  preparedFolder({ contentId }: Keyed, form: string): string {
    return prepared.preparedFolder(this.place, { contentId, form });
  }

  /** Whether the prepared form is here; it is whole then. */
  async hasPrepared(model: Keyed, form: string): Promise<boolean> {
    return await exists(this.preparedFolder(model, form));
  }

  /**
   * The folder of the prepared form; where it is not here yet, `write` fills a folder beside, which is flushed and
   * renamed. One writer at a time in all processes; what a killed or failed writer left is never seen.
   */
  async writePrepared(
    { contentId }: Keyed,
    form: string,
    write: prepared.WritePrepared,
    options: WorkOptions & { readonly neededBytes?: number | undefined } = {},
  ): Promise<string> {
    const key = { contentId, form };
    const target = prepared.preparedFolder(this.place, key);
    if (await exists(target)) return target;
    return await this.flights.run(`prepare ${target}`, options, (work) => {
      return prepared.writePrepared(this.place, key, write, options.neededBytes, work);
    });
  }

  /** Removes a prepared form, so that it can be written anew. Who has its files mapped keeps them. */
  async removePrepared({ contentId }: Keyed, form: string): Promise<void> {
    await prepared.removePrepared(this.place, { contentId, form });
  }

  /** A typed name: a source, an alias, or the name under which `list` shows a model. */
  private async resolve(text: string): Promise<Source> {
    const source = parseSource((await this.aliasOf(text))?.from ?? text);
    if (source.kind !== "catalog" || this.place.catalog.some(({ name }) => name === source.name)) return source;
    const reference = await readReference(this.home, source.name);
    return reference ? parseSource(reference.source) : source;
  }

  private entry(name: string): CatalogEntry {
    const entry = this.place.catalog.find((entry) => entry.name === name);
    if (entry) return entry;
    const names = this.place.catalog.map((entry) => entry.name);
    const near = nearest(name, names);
    throw new IroriError("not-found", {
      what: `${quoted(name)} is neither in the catalog nor in the store`,
      wanted: `${names.join(", ")}, or ${sourceForms}`,
      next: near.length > 0 ? `did you mean ${near.join(" or ")}?` : undefined,
    });
  }

  /** A path that is not there may be a name of the hub without its scheme. */
  private async requireFile({ path }: FileSource): Promise<void> {
    if (!/^[\w-][\w.-]*\/[\w.-]+(:[\w.-]+)?$/.test(path) || (await exists(path))) return;
    throw new IroriError("not-found", {
      what: `${path}: no such file`,
      next: `the hub's model of this name is hf:${path}`,
    });
  }

  private async nameOf(source: Source): Promise<string> {
    if (source.kind !== "file") return modelName(source);
    const path = (await exists(source.path))
      ? await diskCall(source.path, () => realpath(source.path))
      : resolve(source.path);
    return modelName({ kind: "file", path });
  }

  private async otherReferences(name: string): Promise<Reference[]> {
    return await this.references((other) => other !== name);
  }

  private async references(isWanted: (name: string) => boolean = () => true): Promise<Reference[]> {
    const references: Reference[] = [];
    for (const name of (await referenceNames(this.home)).filter(isWanted)) {
      const reference = await readReference(this.home, name);
      if (reference) references.push(reference);
    }
    return references;
  }

  /** Removes a forgotten model's bytes and prepared forms where no other model has the same content. */
  private async free(reference: Reference, others: readonly Reference[], lock: Lock): Promise<number> {
    const { contentId, place } = reference;
    let bytes = 0;
    const path = contentPath(this.home, reference);
    const isShared = others.some((other) => other.place.kind !== "in-place" && other.contentId === contentId);
    if (place.kind !== "in-place" && !isShared && (await exists(path))) {
      bytes += await bytesUnder(path);
      await publish(path, join(lock.folder, "removed")); // at once; it goes with the lock's folder
    }
    if (others.some((other) => other.contentId === contentId)) return bytes;
    return bytes + (await prepared.removeForms(this.place, contentId));
  }

  private model(reference: Reference): StoredModel {
    const { format: _, place, files: __, ...about } = reference;
    return { ...about, path: contentPath(this.home, reference), isInPlace: place.kind === "in-place" };
  }
}
