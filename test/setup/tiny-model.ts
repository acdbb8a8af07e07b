// A tiny model in the Hugging Face layout: the golden llama3-rope checkpoint with a tokenizer of single characters.
// It answers nonsense at once; what is tested with it is everything but the answer.
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { goldenPath } from "../golden-family.ts";

/** Byte-level BPE without merges: 157 of the 256 byte characters, and three control tokens. */
function tokenizerJson(vocabSize: number): unknown {
  const control = ["<bos>", "<eos>", "<pad>"];
  const printable = [
    ...Array.from({ length: 94 }, (_, i) => 33 + i),
    ...Array.from({ length: 94 }, (_, i) => 161 + i).filter((code) => code !== 173),
  ];
  const characters = ["Ġ", "Ċ", ...printable.map((code) => String.fromCharCode(code))].slice(
    0,
    vocabSize - control.length,
  );
  const vocab = Object.fromEntries([...control, ...characters].map((token, id) => [token, id]));
  const added = control.map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  return {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: [] },
  };
}

const chatTemplate = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";

/** Writes the model into `folder`, which is made. */
export async function writeTinyModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of ["config.json", "model.safetensors"])
    await copyFile(join(goldenPath("llama3-rope"), name), join(folder, name));
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizerJson(160)));
  await writeFile(
    join(folder, "tokenizer_config.json"),
    JSON.stringify({ bos_token: "<bos>", eos_token: "<eos>", chat_template: chatTemplate }),
  );
}
