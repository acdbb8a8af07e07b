// A text as passages that are whole sentences, and as chunks of passages that fit a budget of tokens: every byte of the text is in
// exactly one passage. Lengths are told by whoever counts tokens. It does not know models.
import { sentencesOf } from "../../memory/mod.ts";

export interface Passage {
  /** From 1, in the text's order. */
  readonly number: number;
  readonly text: string;
  /** Bytes of the text in UTF-8; passages and the space between them tile it: `end` is the next one's `start`. */
  readonly start: number;
  readonly end: number;
  readonly tokens: number;
  /** A heading, or a paragraph's beginning. */
  readonly isSectionStart: boolean;
}

export interface Chunk {
  readonly passages: readonly Passage[];
  /** Passages before it that are told again, so that what spans a border is seen whole once. */
  readonly overlap: readonly Passage[];
}

export type CountTokens = (text: string) => Promise<number>;

/** Tokens of a passage, about: what an answer refers to. */
const WANTED = 64;
/** A sentence of more is cut at spaces. */
const MOST = 320;
const AT_ONCE = 32;
/** A line that begins a thing of its own. */
const ITEM = /\n(?=[ \t]*(?:[-*+•・] |\d{1,3}[.)] |#{1,6} |\||>))/gu;
const HEADING = /^\s*(?:#{1,6} |第.{1,8}[章節]|\d+(?:\.\d+)* \p{Lu})/u;

interface Unit {
  /** UTF-16 units; with the space before it. */
  readonly start: number;
  readonly end: number;
}

/** Sentences and items of lists, with all space between them; they tile the text. */
function unitsOf(text: string): Unit[] {
  const starts = new Set([0]);
  for (const { start, end } of sentencesOf(text)) {
    starts.add(start);
    for (const match of text.slice(start, end).matchAll(ITEM)) starts.add(start + match.index + 1);
  }
  const sorted = [...starts].sort((a, b) => a - b);
  // space before the first sentence goes with it
  if (sorted.length > 1 && text.slice(0, sorted[1]).trim() === "") sorted.splice(1, 1);
  return sorted.map((start, i) => ({ start, end: sorted[i + 1] ?? text.length }));
}

/** A unit that is too long in halves, at a space near the middle, never within a character. */
function halved(text: string, { start, end }: Unit): [Unit, Unit] {
  const middle = start + Math.floor((end - start) / 2);
  const space = text.slice(middle, Math.min(end - 1, middle + 200)).search(/\s/u);
  let at = space >= 0 ? middle + space : middle;
  if (/[\udc00-\udfff]/u.test(text.charAt(at)) || /^[\udc00-\udfff]/.test(text.charAt(at))) at++;
  return [
    { start, end: at },
    { start: at, end },
  ];
}

/** The passages of a text. Throws what `count` throws. */
export async function passagesOf(text: string, count: CountTokens): Promise<Passage[]> {
  const units = await counted(text, unitsOf(text), count);
  const groups: { start: number; end: number; tokens: number; isSectionStart: boolean }[] = [];
  for (const { start, end, tokens } of units) {
    const before = text.slice(Math.max(0, start - 3), start);
    const isSectionStart = start === 0 || /\n\s*\n\s*$/.test(before) || HEADING.test(text.slice(start, start + 40));
    const last = groups.at(-1);
    const isHeadingAlone = last?.isSectionStart === true && last.tokens < 24;
    if (
      last === undefined ||
      last.tokens + tokens > WANTED ||
      (isSectionStart && !isHeadingAlone && last.tokens > WANTED / 4)
    )
      groups.push({ start, end, tokens, isSectionStart });
    else {
      last.end = end;
      last.tokens += tokens;
    }
  }
  let at = 0;
  return groups.map(({ start, end, tokens, isSectionStart }, i) => {
    const from = at;
    at += Buffer.byteLength(text.slice(start, end));
    return { number: i + 1, text: text.slice(start, end).trim(), start: from, end: at, tokens, isSectionStart };
  });
}

async function counted(
  text: string,
  units: readonly Unit[],
  count: CountTokens,
): Promise<(Unit & { tokens: number })[]> {
  const found: (Unit & { tokens: number })[] = [];
  for (let i = 0; i < units.length; i += AT_ONCE) {
    const some = units.slice(i, i + AT_ONCE);
    const tokens = await Promise.all(some.map(({ start, end }) => count(text.slice(start, end))));
    for (const [j, unit] of some.entries()) {
      const own = tokens[j] as number;
      if (own <= MOST || unit.end - unit.start < 2) found.push({ ...unit, tokens: own });
      else found.push(...(await counted(text, halved(text, unit), count)));
    }
  }
  return found;
}

/**
 * Chunks of at most `budget` tokens, ended where a section ends if one does in the last third, with up to `overlap` tokens of the
 * passages before. `fits` has the last word: it counts the prompt that would be made of them.
 */
export async function chunksOf(
  passages: readonly Passage[],
  budget: { readonly tokens: number; readonly overlap: number },
  fits: (all: readonly Passage[]) => Promise<boolean>,
): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for (let first = 0; first < passages.length; ) {
    const overlap = overlapOf(passages, first, budget.overlap);
    let room = budget.tokens - sum(overlap);
    let next = first;
    while (next < passages.length && (next === first || (passages[next] as Passage).tokens <= room)) {
      room -= (passages[next] as Passage).tokens;
      next++;
    }
    if (next < passages.length) next = sectionEnd(passages, first, next);
    while (next > first + 1 && !(await fits([...overlap, ...passages.slice(first, next)]))) next--;
    const own = passages.slice(first, next);
    // a single passage that does not fit with its overlap goes without
    chunks.push({ passages: own, overlap: own.length > 1 || (await fits([...overlap, ...own])) ? overlap : [] });
    first = next;
  }
  return chunks;
}

const sum = (passages: readonly Passage[]): number => passages.reduce((total, { tokens }) => total + tokens, 0);

function overlapOf(passages: readonly Passage[], first: number, most: number): Passage[] {
  let from = first;
  for (let room = most; from > 0; from--) {
    const { tokens } = passages[from - 1] as Passage;
    if (tokens > room) break;
    room -= tokens;
  }
  return passages.slice(from, first);
}

function sectionEnd(passages: readonly Passage[], first: number, next: number): number {
  const earliest = first + Math.ceil(((next - first) * 2) / 3);
  for (let at = next; at > earliest; at--) if (passages[at]?.isSectionStart) return at;
  return next;
}
