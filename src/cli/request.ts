// The options that shape an answer, and the request they make. They are checked before a model is opened.
// It does not know models.
import { randomInt } from "node:crypto";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { GenerateRequest, Sampling } from "../engine/mod.ts";
import type { Arguments, NumberRule } from "./arguments.ts";

export const requestArgs = {
  "max-tokens": { type: "string", valueHint: "N", description: "Longest answer (default 1024)" },
  temperature: { type: "string", valueHint: "X", description: "0 for the likeliest token always (default 0.8)" },
  "top-k": { type: "string", valueHint: "N", description: "Draw from the N likeliest tokens, 0 for all (default 40)" },
  "top-p": { type: "string", valueHint: "X", description: "Draw from the fewest that reach X (default 0.95)" },
  "min-p": { type: "string", valueHint: "X", description: "Draw from those X times as likely as the likeliest" },
  "typical-p": { type: "string", valueHint: "X", description: "Draw from the most expected that reach X" },
  "repetition-penalty": { type: "string", valueHint: "X", description: "Above 1 makes tokens seen before less likely" },
  "frequency-penalty": { type: "string", valueHint: "X", description: "Taken off a token for each time it came" },
  "presence-penalty": { type: "string", valueHint: "X", description: "Taken off each token that came" },
  "logit-bias": {
    type: "string",
    valueHint: "ID=X",
    description: "Added to a token's logit; -inf bans it; repeatable",
  },
  "min-tokens": { type: "string", valueHint: "N", description: "The answer may not end sooner" },
  logprobs: {
    type: "string",
    valueHint: "N",
    description: "With --json: log-probabilities, of N others too (at most 64)",
  },
  speculate: {
    type: "boolean",
    description: "Try what followed the same words before: the same answer, sooner in copies",
  },
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
  ["typicalP", "typical-p", { min: Number.MIN_VALUE, max: 1 }],
  ["repetitionPenalty", "repetition-penalty", { min: Number.MIN_VALUE }],
  ["frequencyPenalty", "frequency-penalty", { min: -Infinity }],
  ["presencePenalty", "presence-penalty", { min: -Infinity }],
];

export function wantedOf(args: Arguments): Wanted {
  const given = SAMPLING.map(([name, option, rule]) => [name, args.number(option, rule)] as const);
  const maxTokens = args.number("max-tokens", { isWhole: true, min: 1 });
  const biases = args.texts("logit-bias").map(biasOf);
  return {
    sampling: {
      ...Object.fromEntries(given.filter(([, value]) => value !== undefined)),
      ...(biases.length > 0 && { logitBias: Object.fromEntries(biases) }),
    },
    seed: args.number("seed", { isWhole: true, min: 0 }) ?? randomInt(2 ** 32),
    minTokens: args.number("min-tokens", { isWhole: true, min: 0 }),
    logprobs: args.number("logprobs", { isWhole: true, min: 0, max: MOST_LOGPROBS }),
    speculate: args.flag("speculate"),
    ...(args.texts("stop").length > 0 && { stop: args.texts("stop") }),
    ...(maxTokens !== undefined && { maxTokens }),
  };
}

/** As many as the step picks. */
const MOST_LOGPROBS = 64;

/** "42=-1.5", "42=-inf". */
function biasOf(text: string): readonly [id: number, bias: number] {
  const [, id, bias] = /^(\d+)=(.+)$/.exec(text) ?? [];
  const value = bias === "-inf" ? -Infinity : Number(bias ?? Number.NaN);
  if (id !== undefined && !Number.isNaN(value) && value < Infinity) return [Number(id), value];
  throw new IroriError("bad-input", {
    what: "--logit-bias",
    got: JSON.stringify(text),
    wanted: "a token id, = and a number or -inf",
  });
}
