// What is done with models as they lie in the store: every hash compared, a file of an exported one brought in.
// It loads what reads a prepared form only when that is asked for.
import { IroriError, type OnProgress } from "../base/mod.ts";
import type { ImportedModel, PullOptions, StoredModel } from "../checkpoint/mod.ts";
import type { Engine } from "./engine.ts";

interface WorkOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** What was hashed: the bytes that were pulled, or a prepared form; `damage` says what is not as it was written. */
export interface Verified {
  readonly part: string;
  readonly damage?: string;
}

/** Compares every hash of a model and its prepared forms, with what was packed of them; changes nothing. */
export async function verifyModel(
  { store }: Engine,
  model: StoredModel,
  options: WorkOptions = {},
): Promise<Verified[]> {
  const { verifyPrepared } = await import("./verify-prepared.ts");
  const found = [await seen("bytes", () => store.verify(model, options))];
  for (const form of await store.forms(model))
    found.push(await seen(form, () => verifyPrepared(store.preparedFolder(model, form), options)));
  return found;
}

async function seen(part: string, verify: () => Promise<void>): Promise<Verified> {
  try {
    await verify();
    return { part };
  } catch (error) {
    if (!(error instanceof IroriError) || !["bad-file", "not-found"].includes(error.code)) throw error;
    return { part, damage: error.message };
  }
}

/** The model of a file that `store.exportTo` wrote; forms of it that this version cannot use are left out. */
export async function importModel(
  { store }: Engine,
  path: string,
  options: WorkOptions & Pick<PullOptions, "acceptsTerms"> = {},
): Promise<ImportedModel> {
  const { acceptPrepared } = await import("./verify-prepared.ts");
  return await store.importFrom(path, { ...options, check: acceptPrepared });
}
