// The texts' side of a Hugging Face folder: tokenizer.json, tokenizer_config.json, the chat template in either, and how
// sentence-transformers makes one vector of a text. It does not know weights.
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { Tokenizer } from "../text/mod.ts";
import type { Pooling, Sentence } from "./manifest.ts";

const folderOf = async (path: string): Promise<string> => ((await stat(path)).isDirectory() ? path : dirname(path));

export async function readTokenizerFiles(
  path: string,
): Promise<{ tokenizer: Tokenizer; chatTemplate: string | undefined }> {
  const folder = await folderOf(path);
  const json = await readBytes(join(folder, "tokenizer.json"));
  if (json === undefined)
    throw new IroriError("not-found", {
      what: `${folder} has no tokenizer.json`,
      next: "put the model's tokenizer.json beside its weights",
    });
  const config = (await readJson(join(folder, "tokenizer_config.json"))) as { chat_template?: unknown } | undefined;
  const inConfig = typeof config?.chat_template === "string" ? config.chat_template : undefined;
  const beside = await readText(join(folder, "chat_template.jinja"));
  const sentence = (await readJson(join(folder, "sentence_bert_config.json"))) as
    | { max_seq_length?: unknown }
    | undefined;
  const maxTokens = typeof sentence?.max_seq_length === "number" ? sentence.max_seq_length : undefined;
  return {
    tokenizer: await Tokenizer.fromTokenizerJson(json, config, { maxTokens }),
    chatTemplate: beside ?? inConfig,
  };
}

type Pooled = Exclude<Sentence, { readonly notRun: string }>;

interface Module {
  readonly path?: unknown;
  readonly type?: unknown;
}

/** What `modules.json` makes of hidden states; undefined where the folder is none of sentence-transformers. */
export async function readSentenceFiles(path: string): Promise<Sentence | undefined> {
  const folder = await folderOf(path);
  const modules = await readJson(join(folder, "modules.json"));
  if (!Array.isArray(modules)) return undefined;
  const kinds = (modules as Module[]).map(({ type, path }) => {
    return { kind: String(type).split(".").at(-1) as string, path: typeof path === "string" ? path : "" };
  });
  const other = kinds.find(({ kind }) => !["Transformer", "Pooling", "Normalize"].includes(kind));
  if (other !== undefined) return { notRun: `its module ${JSON.stringify(other.kind)}` };
  const isNormalized = kinds.some(({ kind }) => kind === "Normalize");
  const pooling = kinds.find(({ kind }) => kind === "Pooling");
  // a name out of the folder is not followed
  const isInside = pooling !== undefined && /^[A-Za-z0-9_]+$/.test(pooling.path);
  const settings = isInside ? await readJson(join(folder, pooling.path, "config.json")) : undefined;
  const modes = poolingModes((settings ?? {}) as Record<string, unknown>);
  const [mode] = modes;
  if (mode === undefined || modes.length > 1) return { notRun: `its pooling ${JSON.stringify(modes.join(" and "))}` };
  return { pooling: mode, isNormalized, ...(await readPrompts(folder)) };
}

async function readPrompts(folder: string): Promise<Pick<Pooled, "prompts" | "defaultPrompt">> {
  const config = (await readJson(join(folder, "config_sentence_transformers.json"))) as
    | { readonly prompts?: unknown; readonly default_prompt_name?: unknown }
    | undefined;
  const given = typeof config?.prompts === "object" && config.prompts !== null ? Object.entries(config.prompts) : [];
  const prompts = Object.fromEntries(given.filter((each): each is [string, string] => typeof each[1] === "string"));
  const name = config?.default_prompt_name;
  return { prompts, ...(typeof name === "string" && { defaultPrompt: name }) };
}

const poolings: readonly (readonly [name: string, pooling: Pooling])[] = [
  ["mean", "mean"],
  ["cls", "cls"],
  ["max", "max"],
  ["lasttoken", "last"],
];

/** The modes that are switched on: one, in nearly all models; those that are not run keep their own names. */
function poolingModes(settings: Record<string, unknown>): Pooling[] {
  const named = (name: string): Pooling => (poolings.find(([known]) => known === name)?.[1] ?? name) as Pooling;
  if (typeof settings.pooling_mode === "string") return [named(settings.pooling_mode)];
  const on = Object.entries(settings).filter(([key, value]) => key.startsWith("pooling_mode_") && value === true);
  return on.map(([key]) => named(key.slice("pooling_mode_".length).replace(/_tokens?$/, "")));
}

async function readBytes(path: string): Promise<Uint8Array | undefined> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new IroriError("io", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
}

async function readText(path: string): Promise<string | undefined> {
  const bytes = await readBytes(path);
  return bytes && new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new IroriError("bad-file", {
      what: `${path} is not JSON`,
      got: (error as Error).message,
      next: "fetch the model again",
      cause: error,
    });
  }
}
