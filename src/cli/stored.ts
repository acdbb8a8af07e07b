// What the store has of a model, as plain data for ls, show and pull.
// It does not know models' insides.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, type CatalogEntry, catalog, type Store, type StoredModel } from "../checkpoint/mod.ts";
import type { Form } from "../engine/mod.ts";
import { FORMS } from "./settings.ts";

export interface StoredForm {
  readonly form: Form;
  /** Of all files of the form, those packed for this machine included. */
  readonly bytes: number;
}

export async function aboutStored(store: Store, model: StoredModel) {
  const { name, source, path, bytes, sha256, license, description, pulledAt, isInPlace } = model;
  const forms: StoredForm[] = [];
  for (const form of FORMS)
    if (await store.hasPrepared(model, form))
      forms.push({ form, bytes: await folderBytes(store.preparedFolder(model, form)) });
  const usedAt = await store.lastUse(model);
  return {
    name,
    source,
    sources: catalog.find((entry) => entry.name === source)?.sources ?? [source],
    path,
    bytes,
    ...(sha256 !== undefined && { sha256 }),
    ...(license !== undefined && { license }),
    ...(description !== undefined && { description }),
    pulledAt: new Date(pulledAt).toISOString(),
    ...(usedAt !== undefined && { usedAt: new Date(usedAt).toISOString() }),
    isInPlace,
    forms,
  };
}

/** A catalog entry by what a person asks of it. */
export function aboutEntry(entry: CatalogEntry) {
  const { name, layout, files, license, family, description, sources } = entry;
  const content = layout === "file" ? { sha256: files[0]?.sha256 } : { files: files.map((file) => file.name) };
  return { name, bytes: bytesOf(entry), ...content, license, family, description, sources };
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  return bytes;
}
