// A whole model of 15,000 weights in a folder of its own, for tests that run the command: the golden llama with a
// tokenizer of one character a token. It does not know what is tested with it.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const golden = fileURLToPath(new URL("../goldens/families/llama/", import.meta.url));

/** Longest text of the model; far more than the golden's, so that an answer can last. */
export const CONTEXT = 4096;
const VOCABULARY = 160;

const config = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: VOCABULARY,
  hidden_size: 32,
  intermediate_size: 56,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: CONTEXT,
  rms_norm_eps: 1e-6,
  rope_parameters: { rope_theta: 10000, rope_type: "default" },
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  hidden_act: "silu",
};

const CONTROL = ["<|bos|>", "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>"];

function tokenizerJson(): unknown {
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)); // ! to ~
  const tokens = [...CONTROL, "Ġ", "Ċ", ...letters, "th", "he", "in"];
  for (let i = tokens.length; i < VOCABULARY; i++) tokens.push(`x${i}`);
  const special = { special: true, normalized: false, lstrip: false, rstrip: false, single_word: false };
  return {
    added_tokens: CONTROL.map((content, id) => ({ id, content, ...special })),
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["t h", "h e", "i n"],
    },
  };
}

const chatTemplate =
  "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Writes the model's folder; `change` replaces members of config.json. */
export function writeTinyModel(folder: string, change: Readonly<Record<string, unknown>> = {}): string {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  copyFileSync(join(golden, "model.safetensors"), join(folder, "model.safetensors"));
  write("config.json", { ...config, ...change });
  write("tokenizer.json", tokenizerJson());
  // no end token: an answer lasts as long as it is asked to
  write("tokenizer_config.json", { pad_token: "<|pad|>", chat_template: chatTemplate });
  return folder;
}
