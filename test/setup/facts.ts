// Texts of made-up facts, the same for the same seed, with facts that can be looked for. It does not know what reads them.
import { seededRandom } from "../../src/base/mod.ts";

const PLACES =
  "Ashford Birkdale Calder Dunmore Eskdale Fenwick Garston Holme Irthing Jarrow Kelso Lorton Millom Netherby Orton".split(
    " ",
  );
const GOODS =
  "lamp oil|dried fish|copper wire|window glass|grey wool|oak planks|rock salt|seed barley|roof slate|beeswax".split(
    "|",
  );
const VERBS = "stores|receives|ships|counts|owes|repairs|weighs".split("|");

export interface Facts {
  readonly text: string;
  readonly sentences: readonly string[];
}

/** Sentences of facts under headings, `count` of them. */
export function factsText(count: number, seed: number): Facts {
  const random = seededRandom(seed);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random.next() * all.length)] as T;
  const sentences: string[] = [];
  const parts: string[] = [];
  for (let i = 0; i < count; i++) {
    const sentence = `In the year ${1600 + Math.floor(random.next() * 400)} the depot of ${pick(PLACES)} ${pick(VERBS)} ${Math.floor(random.next() * 9_000) + 100} crates of ${pick(GOODS)}.`;
    sentences.push(sentence);
    if (i % 40 === 0) parts.push(`\n\n## Ledger ${i / 40 + 1}\n\n`);
    else if (i % 8 === 0) parts.push("\n\n");
    else parts.push(" ");
    parts.push(sentence);
  }
  return { text: parts.join("").trimStart(), sentences };
}
export const needle = (i: number): string =>
  `The vault N-${String(i).padStart(2, "0")} opens with the code ${7_001 + 13 * i}.`;
