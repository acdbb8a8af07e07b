// A model fetched and prepared so far that its first use opens at once: for pull and setup.
// It does not know what is asked of it later.
import type { StoredModel } from "../checkpoint/mod.ts";
import type { Engine, LeaseForm, LeaseOptions } from "../engine/mod.ts";

/** Writes a form of a model, and packs what answers or vectors are computed with for this machine's instruction set. */
export async function prepareModel(
  engine: Engine,
  model: string,
  form: LeaseForm | undefined,
  options: Pick<LeaseOptions, "signal" | "onProgress">,
): Promise<StoredModel> {
  await using lease = await engine.lease(model, { form, ...options, warm: false });
  const { familyNamed } = await import("../models/mod.ts");
  if (familyNamed(lease.manifest.family).head !== undefined) await lease.warm();
  else if (lease.manifest.noTokenizer === undefined) await lease.embed(["warm"], { signal: options.signal });
  return await engine.pull(model, options); // by the name it has now
}
