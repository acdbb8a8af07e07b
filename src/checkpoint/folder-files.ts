// Which files of a repository or package make a model's folder in the Hugging Face layout, decided by names alone.
// It opens nothing; what only pickles hold is refused, since a pickle can execute code.

import { IroriError } from "../base/mod.ts";

/** Configuration, tokenizer and templates at the top; sentence-transformers keeps a module in each numbered folder. */
const beside = /^[^/]+\.(json|jinja|model|txt)$|^\d+_[A-Za-z]+\/[^/]+\.(json|safetensors)$/;
const shard = /^[^/]+-\d{5}-of-\d{5}\.safetensors$/;
const pickle = /\.(bin|pt|pth|ckpt|pkl)$/;

/** Names of the files to take of `names`, the weights first; `where` begins the error's sentence. */
export function folderFiles(names: readonly string[], where: string): string[] {
  const weights = weightsOf(names, where);
  return [...weights, ...names.filter((name) => beside.test(name) && !weights.includes(name))];
}

function weightsOf(names: readonly string[], where: string): string[] {
  const top = names.filter((name) => !name.includes("/"));
  if (top.includes("model.safetensors")) return ["model.safetensors"];
  const shards = top.filter((name) => shard.test(name));
  if (top.includes("model.safetensors.index.json") && shards.length > 0) return shards;
  const others = top.filter((name) => name.endsWith(".safetensors"));
  if (others.length === 1) return others;
  if (others.length > 1)
    throw new IroriError("bad-input", {
      what: `${where}: several files of weights`,
      got: others.slice(0, 5).join(", "),
      wanted: "model.safetensors, or one",
      next: "name the file that is meant",
    });
  const pickles = names.filter((name) => pickle.test(name));
  if (pickles.length > 0)
    throw new IroriError("unsupported", {
      what: `${where}: only ${pickles[0]}, a PyTorch pickle, which is never opened because it can execute code`,
      next: "in Python: AutoModel.from_pretrained(NAME).save_pretrained(FOLDER) writes safetensors; then give file:FOLDER",
    });
  throw new IroriError("not-found", {
    what: `${where}: no weights`,
    got: names.slice(0, 5).join(", ") || "no files",
    wanted: "model.safetensors or a .gguf file",
  });
}
