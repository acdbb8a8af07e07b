// Compiles the steps of a normalizer into one function from text to text. Does not know tokens.
import { Charsmap } from "./charsmap.ts";
import type { NormalStep } from "./parts.ts";

export type Normalize = (text: string) => string;

/** One function that applies all steps; `charsmap` is sentencepiece's table, where a step needs it. */
export function compileNormalizer(steps: readonly NormalStep[], charsmap: Uint8Array): Normalize {
  const functions = steps.map((step) => compile(step, charsmap));
  return (text) => functions.reduce((normal, apply) => apply(normal), text);
}

function compile(step: NormalStep, charsmap: Uint8Array): Normalize {
  switch (step.kind) {
    case "unicode":
      return (text) => text.normalize(step.form);
    case "lowercase":
      // JavaScript alone gives a sigma at the end of a word another letter.
      return (text) => text.replaceAll("Σ", "σ").toLowerCase();
    case "strip": {
      const ends = [...(step.left ? ["^\\p{White_Space}+"] : []), ...(step.right ? ["\\p{White_Space}+$"] : [])];
      const regex = new RegExp(ends.join("|") || "(?!)", "gu");
      return (text) => text.replace(regex, "");
    }
    case "replace": {
      const regex = new RegExp(step.pattern, "gu");
      return (text) => text.replace(regex, step.to);
    }
    case "prepend":
      return (text) => (text === "" ? text : step.text + text);
    case "charsmap": {
      const map = new Charsmap(charsmap);
      return (text) => map.apply(text, step.by);
    }
  }
}

/** A text as a pattern that matches it alone, and as a replacement that is it alone. */
export const literalPattern = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
export const literalReplacement = (text: string): string => text.replaceAll("$", "$$$$");
