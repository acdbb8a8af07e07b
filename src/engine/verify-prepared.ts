// Whether a prepared form on disk is what was written, byte for byte, and whether one that came from elsewhere may be used.
// It does not know where it came from.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError, type OnProgress } from "../base/mod.ts";
import { type Family, familyNamed } from "../models/mod.ts";
import { Tokenizer } from "../text/mod.ts";
import { type Extent, extentsOf, FILES, type Manifest, type StoredTensor } from "./manifest.ts";
import { stampFile, type Written } from "./mapped-check.ts";
import { filesOfPacked } from "./packed.ts";
import { readManifest } from "./resident.ts";
import { readSealed } from "./sealed.ts";

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** Hashes every file of a prepared form, packed ones too. Throws "bad-file" for the first that is not as it was written. */
export async function verifyPrepared(folder: string, options: VerifyOptions = {}): Promise<void> {
  const manifest = await readManifest(folder);
  await verifyFile(
    join(folder, FILES.weights),
    { bytes: manifest.weightBytes, sha256: manifest.weightSha256 },
    options,
  );
  await openTokenizer(folder, manifest);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.name.endsWith(".sealed")) await readSealed(path);
    if (!entry.isDirectory() || !entry.name.startsWith("packed-")) continue;
    for (const file of await filesOfPacked(path)) await verifyFile(join(path, file.name), file, options);
    for (const name of await readdir(path)) if (name.endsWith(".sealed")) await readSealed(join(path, name));
  }
}

async function verifyFile(path: string, wanted: Written, { signal, onProgress }: VerifyOptions): Promise<void> {
  const hash = createHash("sha256");
  let done = 0;
  const bad = (got: string, wanted: string, cause?: unknown) =>
    new IroriError("bad-file", {
      what: path,
      got,
      wanted,
      next: "it is made anew when the model is next opened",
      cause,
    });
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 4 << 20, signal })) {
      hash.update(chunk as Uint8Array);
      done += (chunk as Uint8Array).length;
      onProgress?.({ step: "verify", item: path, done, total: wanted.bytes, unit: "bytes" });
    }
  } catch (cause) {
    if (signal?.aborted) throw new IroriError("cancelled", { what: "verifying was cancelled", cause });
    throw bad((cause as NodeJS.ErrnoException).code ?? String(cause), `${wanted.bytes} bytes`, cause);
  }
  if (done !== wanted.bytes) throw bad(`${done} bytes`, `${wanted.bytes}`);
  const sha256 = hash.digest("hex");
  if (sha256 !== wanted.sha256) throw bad(`sha256 ${sha256.slice(0, 12)}…`, `${wanted.sha256.slice(0, 12)}…`);
}

async function openTokenizer(folder: string, { noTokenizer }: Manifest): Promise<void> {
  const path = join(folder, FILES.tokenizer);
  if (noTokenizer !== undefined) return;
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("bad-file", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  Tokenizer.open(bytes);
}

/**
 * Accepts a prepared form that was written elsewhere: its manifest must describe a model of its family, every array must lie in
 * the weights file and be as long as its tensor. Throws "bad-file" otherwise.
 */
export async function acceptPrepared(folder: string): Promise<void> {
  try {
    await requireSound(folder);
  } catch (cause) {
    if (cause instanceof IroriError && cause.code !== "unsupported") throw cause;
    // a manifest of another shape than any that is written here
    const message = cause instanceof Error ? cause.message : String(cause);
    const got = message.replace(/\p{Cc}/gu, "�").slice(0, 200); // terminals act on control characters
    throw new IroriError("bad-file", { what: `${folder}: its manifest`, got, wanted: "a prepared model", cause });
  }
}

async function requireSound(folder: string): Promise<void> {
  const manifest = await readManifest(folder);
  const bad = (what: string, got: string | number, wanted: string | number) =>
    new IroriError("bad-file", {
      what: `${join(folder, FILES.manifest)}: ${what}`,
      got,
      wanted,
      next: "prepare it again",
    });
  const family = knownFamily(manifest, bad);
  for (const [name, { offset, length }] of extentsOf(manifest))
    if (!isSize(offset) || !isSize(length) || offset + length > manifest.weightBytes)
      throw bad(`where ${name} lies`, `${offset} to ${offset + length}`, `0 to ${manifest.weightBytes}`);
  for (const [name, shape] of family.weights(manifest.config)) {
    const stored = manifest.tensors[name];
    if (stored === undefined) throw bad(name, "none", `[${shape}]`);
    const own = stored.isTransposed ? [...stored.shape].reverse() : stored.shape;
    if (own.join() !== shape.join()) throw bad(name, `[${own}]`, `[${shape}]`);
    const wrong = wrongLength(stored);
    if (wrong !== undefined) throw bad(`${name}: its bytes`, wrong.got, wrong.wanted);
  }
  await verifyFile(join(folder, FILES.weights), { bytes: manifest.weightBytes, sha256: manifest.weightSha256 }, {});
  await openTokenizer(folder, manifest);
  await stampFile(join(folder, FILES.weights));
}

type Bad = (what: string, got: string | number, wanted: string | number) => IroriError;

/** Most layers that a configuration may claim: what is listed of them must stay a list. */
const MOST_LAYERS = 10_000;

function knownFamily(manifest: Manifest, bad: Bad): Family {
  const { family, config, tensors, weightBytes } = manifest;
  if (typeof tensors !== "object" || tensors === null || !isSize(weightBytes))
    throw bad("its tensors", "something else", "a list");
  if (!isSize(config?.layers) || config.layers > MOST_LAYERS)
    throw bad("layers", config?.layers, `at most ${MOST_LAYERS}`);
  return familyNamed(family);
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function wrongLength(stored: StoredTensor): { readonly got: number; readonly wanted: number } | undefined {
  const elements = stored.shape.reduce((a, b) => a * b, 1);
  const lengths: (readonly [Extent, number])[] = [];
  if ("values" in stored) lengths.push([stored.values, elements * 4]);
  else {
    const { bits, block } = stored.format;
    lengths.push([stored.codes, (elements * bits) / 8], [stored.scales, (elements / block) * 4]);
    if (stored.mins) lengths.push([stored.mins, (elements / block) * 4]);
  }
  for (const [{ length }, wanted] of lengths) if (length !== wanted) return { got: length, wanted };
  return undefined;
}
