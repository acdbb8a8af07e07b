// How the next token is chosen: the settings of an answer, as plain data.
// It does not know logits.
import { IroriError } from "../base/mod.ts";

export interface Sampling {
  /** Logits are divided by it; 0: always the most likely token. */
  readonly temperature: number;
  /** Only the k most likely tokens (0: all); those as likely as the k-th stay too. */
  readonly topK: number;
  /** Only the most likely tokens that together reach this probability (1: all; Holtzman et al. 2020). */
  readonly topP: number;
  /** Only tokens at least this share as likely as the most likely (0: all; Nguyen et al. 2024). */
  readonly minP: number;
  /** Only the tokens closest to the expected surprise that together reach this probability (1: all; Meister et al. 2023). */
  readonly typicalP: number;
  /** Divides positive (multiplies negative) logits of tokens of prompt and answer (1: none; Keskar et al. 2019). */
  readonly repetitionPenalty: number;
  /** Taken from the logit of a token of the answer for each time that it came (0: none). */
  readonly frequencyPenalty: number;
  /** Taken from the logit of every token of the answer (0: none). */
  readonly presencePenalty: number;
  /** Added to the logits of tokens, by id, before all else; −Infinity bans one. */
  readonly logitBias: Readonly<Record<number, number>>;
}

export const GREEDY: Sampling = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, typicalP: 1 },
  ...{ repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: {} },
};
export const DEFAULT_SAMPLING: Sampling = { ...GREEDY, temperature: 0.8, topK: 40, topP: 0.95 };

/** Rejects settings that mean nothing, with a sentence. */
export function checkSampling(s: Sampling, vocabSize: number): void {
  const rules: readonly [Exclude<keyof Sampling, "logitBias">, (x: number) => boolean, string][] = [
    ["temperature", (x) => x >= 0, "0 or more"],
    ["topK", (x) => Number.isInteger(x) && x >= 0, "a whole number, 0 for all"],
    ["topP", (x) => x > 0 && x <= 1, "more than 0, at most 1"],
    ["minP", (x) => x >= 0 && x <= 1, "0 to 1"],
    ["typicalP", (x) => x > 0 && x <= 1, "more than 0, at most 1"],
    ["repetitionPenalty", (x) => x > 0, "more than 0"],
    ["frequencyPenalty", () => true, "a number"],
    ["presencePenalty", () => true, "a number"],
  ];
  for (const [name, holds, wanted] of rules)
    if (!Number.isFinite(s[name]) || !holds(s[name]))
      throw new IroriError("bad-input", { what: `sampling: ${name}`, got: s[name], wanted });
  for (const [id, bias] of Object.entries(s.logitBias)) {
    if (!/^\d+$/.test(id) || Number(id) >= vocabSize)
      throw new IroriError("bad-input", {
        what: "sampling: a token id of logitBias",
        got: id,
        wanted: `0 to ${vocabSize - 1}`,
      });
    if (Number.isNaN(bias) || bias === Number.POSITIVE_INFINITY)
      throw new IroriError("bad-input", { what: `sampling: logitBias of ${id}`, got: bias, wanted: "a number" });
  }
}
