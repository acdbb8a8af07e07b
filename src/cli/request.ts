// The options that shape an answer, and the request they make. They are checked before a model is opened.
// It does not know models.
import { randomInt } from "node:crypto";
import type { ArgsDef } from "citty";
import type { GenerateRequest, Sampling } from "../engine/mod.ts";
import type { Arguments, NumberRule } from "./arguments.ts";

export const requestArgs = {
  "max-tokens": { type: "string", valueHint: "N", description: "Longest answer (default 1024)" },
  temperature: { type: "string", valueHint: "X", description: "0 for the likeliest token always (default 0.8)" },
  "top-k": { type: "string", valueHint: "N", description: "Draw from the N likeliest tokens, 0 for all (default 40)" },
  "top-p": { type: "string", valueHint: "X", description: "Draw from the fewest that reach X (default 0.95)" },
  "min-p": { type: "string", valueHint: "X", description: "Draw from those X times as likely as the likeliest" },
  "repetition-penalty": { type: "string", valueHint: "X", description: "Above 1 makes tokens seen before less likely" },
  seed: { type: "string", valueHint: "N", description: "Same seed, same answer (default: drawn, and told)" },
  stop: { type: "string", valueHint: "TEXT", description: "End the answer before this text; may be repeated" },
} as const satisfies ArgsDef;

/** All of a request but its prompt. */
export type Wanted = Omit<GenerateRequest, "prompt">;

const SAMPLING: readonly (readonly [keyof Sampling, string, NumberRule])[] = [
  ["temperature", "temperature", { min: 0 }],
  ["topK", "top-k", { isWhole: true, min: 0 }],
  ["topP", "top-p", { min: Number.MIN_VALUE, max: 1 }],
  ["minP", "min-p", { min: 0, max: 1 }],
  ["repetitionPenalty", "repetition-penalty", { min: Number.MIN_VALUE }],
];

export function wantedOf(args: Arguments): Wanted {
  const given = SAMPLING.map(([name, option, rule]) => [name, args.number(option, rule)] as const);
  const maxTokens = args.number("max-tokens", { isWhole: true, min: 1 });
  return {
    sampling: Object.fromEntries(given.filter(([, value]) => value !== undefined)),
    seed: args.number("seed", { isWhole: true, min: 0 }) ?? randomInt(2 ** 32),
    stop: args.texts("stop"),
    ...(maxTokens !== undefined && { maxTokens }),
  };
}
