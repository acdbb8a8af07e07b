// All weight types that Irori reads, by name and by GGUF number.
// Adding a type is one literal in a block-types-*.ts file; nothing else asks which type it is.

import type { BlockType } from "./block-type.ts";
import { iqTypes } from "./block-types-iq.ts";
import { plainTypes } from "./block-types-plain.ts";
import { qTypes } from "./block-types-q.ts";

const all: readonly BlockType[] = [...plainTypes, ...qTypes, ...iqTypes];

export const blockTypes: ReadonlyMap<string, BlockType> = new Map(all.map((type) => [type.name, type]));

export const blockTypesById: ReadonlyMap<number, BlockType> = new Map(
  all.filter((type) => type.id >= 0).map((type) => [type.id, type]),
);

/** Types that ggml has had, with numbers, that no file to be read here should carry. */
export const unreadTypes: ReadonlyMap<number, string> = new Map([
  ...([
    [4, "Q4_2"],
    [5, "Q4_3"],
    [9, "Q8_1"],
    [15, "Q8_K"],
    [31, "Q4_0_4_4"],
    [32, "Q4_0_4_8"],
  ] as const),
  ...([
    [33, "Q4_0_8_8"],
    [36, "IQ4_NL_4_4"],
    [37, "IQ4_NL_4_8"],
    [38, "IQ4_NL_8_8"],
    [41, "Q1_0"],
  ] as const),
]);
