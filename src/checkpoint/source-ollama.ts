// A model in Ollama's store on this disk: its manifest, and the blob with its weights. Nothing of the store is changed.
// Template, system prompt and parameters of the manifest are data.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { IroriError, nearest } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { diskCall } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import { formatSource, type OllamaSource } from "./source.ts";

const media = "application/vnd.ollama.image.";
const layerShape = z.object({
  mediaType: z.string(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  size: z.int().nonnegative(),
});
const manifestShape = z.object({ layers: z.array(layerShape) });

export interface OllamaModel {
  /** The GGUF file. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly license: string | undefined;
  /** What the model's maker puts in front of a chat. */
  readonly system: string | undefined;
}

/** The model in the first of the folders that has it; the first one's complaint where none has. */
export async function findOllama(source: OllamaSource, folders: readonly string[]): Promise<OllamaModel> {
  let complaint: unknown = new IroriError("not-found", {
    what: "Ollama's folder of models is not known",
    next: "set OLLAMA_MODELS",
  });
  for (const [i, folder] of folders.entries()) {
    try {
      return await readOllama(source, folder);
    } catch (error) {
      if (!(error instanceof IroriError) || error.code !== "not-found") throw error;
      if (i === 0) complaint = error;
    }
  }
  throw complaint;
}

/** `models` is Ollama's folder of models: `manifests` and `blobs` lie in it. */
async function readOllama(source: OllamaSource, models: string): Promise<OllamaModel> {
  const name = formatSource(source);
  const path = manifestPath(source, models);
  const bytes = await readFile(path).catch(async (cause: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", {
      what: `${name} is not in Ollama's store`,
      got: `no ${path}`,
      wanted: (await namesIn(models, source.name)) || "a model that `ollama list` shows",
      next: "`ollama pull` fetches it, and OLLAMA_MODELS says where its store is",
      cause,
    });
  });
  const parsed = manifestShape.safeParse(parseJson(path, bytes).value);
  if (!parsed.success)
    throw new IroriError("bad-file", {
      what: `${path}: no manifest of Ollama`,
      next: `ollama pull ${source.name} again`,
      cause: parsed.error,
    });
  const { layers } = parsed.data;
  const refused = layers.find(({ mediaType }) => mediaType === `${media}adapter` || mediaType === `${media}projector`);
  if (refused !== undefined)
    throw new IroriError("unsupported", {
      what: `${name} has a part that Irori does not run`,
      got: refused.mediaType.slice(media.length),
    });
  const weights = layers.filter(({ mediaType }) => mediaType === `${media}model`);
  const [layer] = weights;
  if (layer === undefined || weights.length > 1)
    throw new IroriError("unsupported", { what: `${name}: files of weights`, got: weights.length, wanted: 1 });
  const text = (kind: string) =>
    textOf(
      models,
      layers.find(({ mediaType }) => mediaType === media + kind),
    );
  const blob = blobPath(models, layer.digest);
  const { size } = await diskCall(blob, () => stat(blob));
  if (size !== layer.size)
    throw new IroriError("bad-file", {
      what: `${blob}: its length`,
      got: size,
      wanted: layer.size,
      next: `it may be half fetched: ollama pull ${source.name}`,
    });
  const license = (await text("license"))?.split("\n").find((line) => line.trim() !== "");
  return {
    path: blob,
    bytes: size,
    sha256: layer.digest.slice(7),
    license: license?.trim().slice(0, 60),
    system: await text("system"),
  };
}

function manifestPath({ name, tag }: OllamaSource, models: string): string {
  const steps = name.split("/");
  const host =
    steps.length === 3 ? steps : ["registry.ollama.ai", ...(steps.length === 1 ? ["library", ...steps] : steps)];
  return join(models, "manifests", ...host, tag);
}

const blobPath = (models: string, digest: string): string => join(models, "blobs", digest.replace(":", "-"));

/** A text layer; such ones are small. */
async function textOf(models: string, layer: z.infer<typeof layerShape> | undefined): Promise<string | undefined> {
  if (layer === undefined || layer.size > 1 << 20) return undefined;
  const path = blobPath(models, layer.digest);
  return (await diskCall(path, () => readFile(path, "utf8"))).trim() || undefined;
}

/** Models of Ollama's own library here that a name may have meant. */
async function namesIn(models: string, name: string): Promise<string> {
  const library = join(models, "manifests", "registry.ollama.ai", "library");
  const names = await readdir(library).catch(() => []); // no store, no names
  return (nearest(name, names).length > 0 ? nearest(name, names) : names.slice(0, 8))
    .map((each) => quoted(each))
    .join(", ");
}
