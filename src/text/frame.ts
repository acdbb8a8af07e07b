// Puts special tokens around one text or a pair, and cuts what is too long as tokenizers do: the longer text first.
// Does not know text: it is given ids.
import { IroriError } from "../base/mod.ts";
import type { Frame } from "./parts.ts";

/** A whole input of a model: what it was trained to see around one text or a pair. */
export interface Framed {
  readonly ids: number[];
  /** Which text of a pair each token belongs to (BERT's token types); the texts' own special tokens included. */
  readonly types: number[];
  /** Tokens of the texts that were left out because the whole was longer than `maxTokens`. */
  readonly cutTokens: number;
}

/** @param texts ids of one text or of two, without special tokens */
export function framed(
  frame: Frame,
  texts: readonly [readonly number[]] | readonly [readonly number[], readonly number[]],
  maxTokens = Number.POSITIVE_INFINITY,
): Framed {
  const slots = texts.length === 1 ? frame.single : frame.pair;
  const own = slots.reduce((sum, slot) => sum + ("ids" in slot ? slot.ids.length : 0), 0);
  if (maxTokens < own)
    throw new IroriError("bad-input", {
      what: `a text of at most ${maxTokens} tokens`,
      wanted: `${own} or more: so many stand around ${texts.length === 1 ? "every text" : "every pair"}`,
    });
  const lengths = kept(
    texts.map((text) => text.length),
    maxTokens - own,
  );
  const ids: number[] = [];
  const types: number[] = [];
  for (const slot of slots) {
    const added = "ids" in slot ? slot.ids : (texts[slot.text] ?? []).slice(0, lengths[slot.text]);
    for (const id of added) {
      ids.push(id);
      types.push(slot.type);
    }
  }
  const whole = texts.reduce((sum, text) => sum + text.length, 0);
  return { ids, types, cutTokens: whole - lengths.reduce((a, b) => a + b, 0) };
}

/** Tokens that stay of each text: of two, the longer one is cut to the shorter one's length, then both. */
function kept([first = 0, second]: readonly number[], room: number): number[] {
  if (second === undefined) return [Math.min(first, room)];
  if (first + second <= room) return [first, second];
  const short = Math.min(first, second);
  const half = Math.floor(room / 2);
  if (short <= half) return first <= second ? [first, room - first] : [room - second, second];
  return first <= second ? [half, room - half] : [room - half, half];
}
