// A tiny llama as a Q4_1 GGUF file: random blocks with minima, so that its products have offsets, and a tokenizer of
// single characters. It answers nonsense at once; what is tested with it is everything but the answer.
import { writeFile } from "node:fs/promises";
import { seededRandom } from "../../src/base/mod.ts";
import { Bytes, gguf, ggufBytes } from "../model-bytes.ts";

const [LAYERS, HIDDEN, INNER, HEADS, VOCABULARY, CONTEXT] = [2, 64, 96, 4, 160, 4096];
const [Q4_1, F32, BLOCK] = [3, 0, 32];
/** The first tokens are control tokens. */
const [CONTROL, CONTROL_TYPE] = [2, 3];

/** Names and sizes as in a file: innermost first. */
const tensors: readonly (readonly [name: string, dimensions: readonly number[]])[] = [
  ["token_embd", [HIDDEN, VOCABULARY]],
  ["output_norm", [HIDDEN]],
  ["output", [HIDDEN, VOCABULARY]],
  ...Array.from({ length: LAYERS }, (_, l) => l).flatMap((l) => [
    [`blk.${l}.attn_norm`, [HIDDEN]] as const,
    ...["q", "k", "v", "output"].map((part) => [`blk.${l}.attn_${part}`, [HIDDEN, HIDDEN]] as const),
    [`blk.${l}.ffn_norm`, [HIDDEN]] as const,
    [`blk.${l}.ffn_gate`, [HIDDEN, INNER]] as const,
    [`blk.${l}.ffn_up`, [HIDDEN, INNER]] as const,
    [`blk.${l}.ffn_down`, [INNER, HIDDEN]] as const,
  ]),
];

/** Blocks of Q4_1: scale 0.0625 and minimum −0.375 in float16, then 32 random codes. */
function blocks(count: number, random: { next(): number }): Uint8Array {
  const out = new Bytes();
  for (let i = 0; i < count; i++)
    out
      .raw(Uint8Array.of(0x00, 0x2c, 0x00, 0xb6))
      .raw(Uint8Array.from({ length: BLOCK / 2 }, () => Math.floor(random.next() * 256)));
  return out.done();
}

export interface TinyOptions {
  /** Every value of the norms. */
  readonly norm?: number;
  /** Name of a vector that no llama has. */
  readonly stranger?: string;
}

export async function writeTinyGguf(path: string, { norm = 1, stranger }: TinyOptions = {}): Promise<void> {
  const random = seededRandom(8);
  const data = new Bytes();
  const all = [...tensors, ...(stranger === undefined ? [] : [[stranger, [HIDDEN]] as const])];
  const described = all.map(([name, dimensions]) => {
    const offset = data.length;
    const elements = dimensions.reduce((a, b) => a * b);
    const isMatrix = dimensions.length > 1;
    data.raw(
      isMatrix ? blocks(elements / BLOCK, random) : new Uint8Array(new Float32Array(elements).fill(norm).buffer),
    );
    data.pad(32);
    return { name: name === stranger ? name : `${name}.weight`, dimensions, type: isMatrix ? Q4_1 : F32, offset };
  });
  const float = (value: number) => [6, (out: Bytes) => out.raw(new Uint8Array(Float32Array.of(value).buffer))] as const;
  const texts = (all: readonly string[]) =>
    gguf.array(8, all.length, (out) => {
      for (const text of all) out.string(text);
    });
  const tokens = ["<bos>", "<eos>", ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)), "Ġ"];
  while (tokens.length < VOCABULARY) tokens.push(`x${tokens.length}`);
  const types = gguf.array(5, tokens.length, (out) => {
    for (const [id] of tokens.entries()) out.u32(id < CONTROL ? CONTROL_TYPE : 1);
  });
  const metadata = [
    ["general.architecture", gguf.string("llama")],
    ["llama.context_length", gguf.u32(CONTEXT)],
    ["llama.embedding_length", gguf.u32(HIDDEN)],
    ["llama.block_count", gguf.u32(LAYERS)],
    ["llama.feed_forward_length", gguf.u32(INNER)],
    ["llama.attention.head_count", gguf.u32(HEADS)],
    ["llama.attention.layer_norm_rms_epsilon", float(1e-5)],
    ["tokenizer.ggml.model", gguf.string("gpt2")],
    ["tokenizer.ggml.pre", gguf.string("gpt-2")],
    ["tokenizer.ggml.tokens", texts(tokens)],
    ["tokenizer.ggml.token_type", types],
    ["tokenizer.ggml.merges", texts([])],
    ["tokenizer.ggml.eos_token_id", gguf.u32(1)],
    ["tokenizer.chat_template", gguf.string("{% for m in messages %}{{ m.content }}{% endfor %}")],
  ] as const;
  await writeFile(path, ggufBytes({ metadata, tensors: described, data: data.done() }));
}
