// Ids of episodes, concepts and spikes: sorted by their moment, hard to guess, short enough to type.
// It does not know what they name.
import type { Random } from "../base/mod.ts";

/** Crockford's digits: no i, l, o, u. */
const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";

function digits(value: number, count: number): string {
  let text = "";
  for (let rest = value; text.length < count; rest = Math.floor(rest / 32)) text = DIGITS.charAt(rest % 32) + text;
  return text;
}

export type NewId = (atMs: number) => string;

/** Nine digits of the moment (until the year 3084) and ten of chance. @param random should differ in every process */
export function idMaker(random: Random): NewId {
  return (atMs) => digits(Math.max(0, Math.round(atMs)), 9) + digits(Math.floor(random.next() * 2 ** 50), 10);
}
