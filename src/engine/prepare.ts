// Preparing a checkpoint once: weights in one form, tokenizer and manifest, written by the caller's atomic folder.
// It does not know the store's layout.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/mod.ts";
import { type Config, type Family, familyOf, familyOfGguf, type Gguf } from "../models/mod.ts";
import { Tokenizer } from "../text/mod.ts";
import { type ConvertOptions, convertedBytes, convertWeights } from "./convert.ts";
import { hasWeight } from "./locate-weights.ts";
import { FILES, type Form, MANIFEST_FORMAT, type Manifest } from "./manifest.ts";
import { stampFile } from "./mapped-check.ts";
import { MappedFileWriter } from "./mapped-file.ts";
import { writeSealed } from "./sealed.ts";
import { readSentenceFiles, readTokenizerFiles } from "./tokenizer-files.ts";

/** The model that a checkpoint holds. */
async function identify(checkpoint: Checkpoint): Promise<{ readonly family: Family; readonly config: Config }> {
  if (checkpoint.format === "gguf") {
    const family = familyOfGguf(String(checkpoint.metadata.get("general.architecture")));
    const config = await (family.gguf as Gguf<Config>).readConfig({
      metadata: checkpoint.metadata,
      has: (tensor) => checkpoint.tensors.has(tensor),
      shape: (tensor) => checkpoint.tensors.get(tensor)?.shape,
      read: (tensor) => checkpoint.readFloat32(tensor),
    });
    return { family, config };
  }
  const type = (checkpoint.config as { model_type?: unknown } | undefined)?.model_type;
  if (typeof type !== "string")
    throw new IroriError("bad-file", {
      what: `${checkpoint.files[0]}: config.json does not name a model_type`,
      next: "give the folder that holds config.json beside the weights",
    });
  const family = familyOf(type);
  const config = family.parseConfig(checkpoint.config);
  return { family, config: family.fit?.(config, (name) => hasWeight(checkpoint, family, config, name)) ?? config };
}

/** Bytes on disk that preparing the checkpoint at `path` needs; forms for serving are packed afterwards, with two more copies for a while. */
export async function neededBytes(path: string, form: Form): Promise<number> {
  await using checkpoint = await openCheckpoint(path);
  const { family, config } = await identify(checkpoint);
  return convertedBytes(checkpoint, family, config, form) * (form === "f32" ? 1 : 5);
}

/** Up to so many weights a model that comes as floats stays as it is; up to so many it is served in 8 bits, above in 4. */
const FEW_WEIGHTS = 100e6;
const MANY_WEIGHTS = 2e9;

/** The form that answers are served in where nobody names one: the checkpoint's own blocks, or by the model's size. */
export async function servingForm(path: string): Promise<Form> {
  await using checkpoint = await openCheckpoint(path);
  const all = [...checkpoint.tensors.values()];
  const weights = all.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const hasBlocks = all.some(({ name, shape }) => shape.length === 2 && checkpoint.typeOf(name).exact !== undefined);
  if (hasBlocks || weights < FEW_WEIGHTS) return "blocks";
  return weights < MANY_WEIGHTS ? "q8" : "q4";
}

/** Writes the prepared form of the checkpoint at `path` into `folder`. */
export async function prepare(path: string, form: Form, folder: string, options: ConvertOptions): Promise<Manifest> {
  await using checkpoint = await openCheckpoint(path);
  const { family, config } = await identify(checkpoint);
  const texts = await writeTokenizer(checkpoint, path, folder);
  await using file = await MappedFileWriter.create(join(folder, FILES.weights));
  const { tensors, report } = await convertWeights(checkpoint, family, config, form, file, options);
  const { bytes, sha256 } = await file.finish();
  await stampFile(join(folder, FILES.weights));
  const manifest: Manifest = {
    format: MANIFEST_FORMAT,
    family: family.name,
    isDecoder: family.head !== undefined,
    form,
    config,
    tensors,
    weightBytes: bytes,
    weightSha256: sha256,
    ...texts,
    report,
  };
  await writeSealed(join(folder, FILES.manifest), new TextEncoder().encode(JSON.stringify(manifest)));
  return manifest;
}

/** In a function of its own: a large vocabulary must not stay in memory while weights are converted. */
async function writeTokenizer(checkpoint: Checkpoint, path: string, folder: string) {
  const { tokenizer, ...texts } = await readTokenizer(checkpoint, path);
  if (tokenizer) await writeFile(join(folder, FILES.tokenizer), tokenizer.prepare(), { flush: true });
  return texts;
}

type Texts = Pick<Manifest, "chatTemplate" | "noTokenizer" | "sentence"> & { readonly tokenizer?: Tokenizer };

/** A checkpoint whose tokenizer is missing or of a kind that is not run is still a model: of token ids. */
async function readTokenizer(checkpoint: Checkpoint, path: string): Promise<Texts> {
  const isGguf = checkpoint.format === "gguf";
  const sentence = isGguf ? undefined : await readSentenceFiles(path);
  const about = sentence && { sentence };
  try {
    const { tokenizer, chatTemplate } = isGguf ? fromGguf(checkpoint) : await readTokenizerFiles(path);
    return { tokenizer, ...about, ...(chatTemplate !== undefined && { chatTemplate }) };
  } catch (error) {
    if (!(error instanceof IroriError) || (error.code !== "not-found" && error.code !== "unsupported")) throw error;
    return { ...about, noTokenizer: error.message };
  }
}

function fromGguf({ metadata }: Checkpoint): {
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: string | undefined;
} {
  const tokenizer = Tokenizer.fromGguf(metadata);
  return { tokenizer, chatTemplate: tokenizer.chatTemplate };
}
