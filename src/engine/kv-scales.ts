// The steps that a KvCache of 8-bit integers counts in: measured on a text once, kept beside the prepared model.
// It does not know caches or steps of a model.
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { type CacheScales, constant, type Largest, type Value } from "../tensor/mod.ts";
import type { KvType } from "./kv-cache.ts";
import { FILES, type Manifest } from "./manifest.ts";
import { fromTexts, measuredModel, measureKeys, sampleIds, toTexts } from "./measure-inputs.ts";
import type { PackSite } from "./packed.ts";
import { readSealed, writeSealed } from "./sealed.ts";

/** What a cache of 8-bit integers counts in, of each layer: measured once, kept beside the prepared model. */
export async function scalesOf(
  site: PackSite,
  manifest: Manifest,
  kvType: KvType,
): Promise<readonly CacheScales[] | undefined> {
  if (kvType === "f32") return undefined;
  const { config } = manifest;
  const known = await readScales(site.folder);
  const largest = known ?? (await measureScales(site, manifest));
  const scale = (of: Float32Array): Value =>
    constant(
      of.map((most) => Math.max(most * MARGIN, TINY) / 127),
      [config.kvHeads, 1, config.headSize],
    );
  return Array.from({ length: config.layers }, (_, l) => ({
    keys: scale(largest.get(`k.${l}`) as Float32Array),
    values: scale(largest.get(`v.${l}`) as Float32Array),
  }));
}
/** Values beyond what was measured are clipped: so much larger ones are not. */
const MARGIN = 1.5;
const TINY = 1e-6;

async function readScales(folder: string): Promise<Largest | undefined> {
  const bytes = await readSealed(join(folder, FILES.kvScales)).catch((error: unknown) => {
    if (error instanceof IroriError && error.code === "bad-file") return undefined; // measured anew
    throw error;
  });
  return bytes && fromTexts(JSON.parse(new TextDecoder().decode(bytes)));
}

async function measureScales(site: PackSite, manifest: Manifest): Promise<Largest> {
  const ids = await sampleIds(site.folder, manifest);
  if (ids === undefined)
    throw new IroriError("unsupported", {
      what: "a KvCache of 8-bit integers for a model without a tokenizer",
      got: manifest.noTokenizer,
      wanted: "float32: the steps of its integers are measured on a text",
    });
  const largest = await measureKeys(measuredModel(site, manifest), ids);
  await writeSealed(join(site.folder, FILES.kvScales), new TextEncoder().encode(JSON.stringify(toTexts(largest))));
  return largest;
}
