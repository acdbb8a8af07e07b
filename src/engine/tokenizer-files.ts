// The tokenizer of a Hugging Face folder: tokenizer.json, tokenizer_config.json and the chat template in either.
// It does not know weights.
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { Tokenizer } from "../text/mod.ts";

export async function readTokenizerFiles(
  path: string,
): Promise<{ tokenizer: Tokenizer; chatTemplate: string | undefined }> {
  const folder = (await stat(path)).isDirectory() ? path : dirname(path);
  const json = await readJson(join(folder, "tokenizer.json"));
  if (json === undefined)
    throw new IroriError("not-found", {
      what: `${folder} has no tokenizer.json`,
      next: "put the model's tokenizer.json beside its weights",
    });
  const config = (await readJson(join(folder, "tokenizer_config.json"))) as { chat_template?: unknown } | undefined;
  const inConfig = typeof config?.chat_template === "string" ? config.chat_template : undefined;
  const beside = await readText(join(folder, "chat_template.jinja"));
  return { tokenizer: await Tokenizer.fromTokenizerJson(json, config), chatTemplate: beside ?? inConfig };
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new IroriError("io", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
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
