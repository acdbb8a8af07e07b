// Texts as vectors without a model: signed hashes of words, their neighbours and their character n-grams, so that texts with
// letters in common point the same way. The same bytes in every process and on every machine: whole numbers, and one
// square root. It knows nothing of meaning: "car" and "automobile" are strangers to it.
import { isFunctionWord, stemmed } from "./terms.ts";
import { runsOf } from "./words.ts";

/** Names the arithmetic below: vectors of another version do not compare. */
export const HASHED_MODEL = "hashed-1";
export const HASHED_DIMS = 384;

/** What a feature adds to its place, in 1/16. A word says more than its pieces, a function word hardly anything. */
const WEIGHT = { word: 16, pair: 6, functionWord: 2, gram: 4, character: 8, characterPair: 16, characterTriple: 8 };

/**
 * The unit vector of a text, [dims]. A text without a letter or digit is hashed as it is, so that every text that is not
 * empty has a direction.
 */
export function hashedVector(text: string, dims = HASHED_DIMS): Float32Array {
  const counts = new Map<string, number>();
  const note = (feature: string, weight: number) => counts.set(feature, (counts.get(feature) ?? 0) + weight);
  let before = "";
  for (const { text: run, isUnspaced } of runsOf(text)) {
    if (isUnspaced) noteCharacters(run, note);
    else noteWord(run, before, note);
    before = isUnspaced || isFunctionWord(run) ? before : run;
  }
  if (counts.size === 0) note(`raw ${text}`, 1);
  const vector = new Float64Array(dims);
  for (const [feature, weight] of counts) {
    const hash = hashOf(feature);
    // the square root of the weight: the tenth time of a word says less than the first
    vector[(hash >>> 1) % dims] = (vector[(hash >>> 1) % dims] as number) + Math.sqrt(weight) * (hash & 1 ? 1 : -1);
  }
  return unit(vector);
}

function noteWord(word: string, before: string, note: (feature: string, weight: number) => void): void {
  if (isFunctionWord(word)) {
    note(`w ${word}`, WEIGHT.functionWord);
    return;
  }
  note(`w ${stemmed(word)}`, WEIGHT.word);
  if (before !== "") note(`p ${stemmed(before)} ${stemmed(word)}`, WEIGHT.pair);
  const marked = `^${word}$`;
  for (let i = 0; i + 4 <= marked.length; i++) note(`g ${marked.slice(i, i + 4)}`, WEIGHT.gram);
}

function noteCharacters(run: string, note: (feature: string, weight: number) => void): void {
  const characters = [...run];
  characters.forEach((character, i) => {
    const [next = "", third = ""] = characters.slice(i + 1, i + 3);
    note(`c ${character}`, WEIGHT.character);
    if (next !== "") note(`c ${character}${next}`, WEIGHT.characterPair);
    if (third !== "") note(`c ${character}${next}${third}`, WEIGHT.characterTriple);
  });
}

/** FNV-1a over UTF-16 units, then the finaliser of MurmurHash3 so that low bits depend on all of it. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Features that cancel out leave a vector of zeros; the first axis then stands for it. */
function unit(vector: Float64Array): Float32Array {
  let sum = 0;
  for (const x of vector) sum += x * x;
  if (sum === 0) return new Float32Array(vector.length).fill(1, 0, 1);
  const length = Math.sqrt(sum);
  return Float32Array.from(vector, (x) => x / length);
}
