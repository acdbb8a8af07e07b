// A text as sentences and as pieces of a size that can be remembered, each with its place. Full stops of English and
// Japanese kind, line ends and blank lines; the same cuts on every machine. It does not know what becomes of the pieces.

export interface Piece {
  readonly text: string;
  /** UTF-16 units from the start of the whole text; `end` is not included. */
  readonly start: number;
  readonly end: number;
}

/** A stop with what closes a quotation after it, before a space or the end; a Japanese stop needs no space. A blank line. */
const STOP = /[.!?…]+["'”’)\]]*(?=\s|$)|[。！？]+[」』）]*|\n\s*\n/gu;
/** After these a full stop ends no sentence. */
const ABBREVIATION = /(?:^|[\s(])(?:e\.g|i\.e|etc|cf|vs|approx|no|nr|vol|fig|mr|mrs|ms|dr|prof|st|jr|sr|[a-z])\.$/iu;

export function sentencesOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (const match of text.matchAll(STOP)) {
    const end = match.index + match[0].length;
    if (match[0] === "." && ABBREVIATION.test(text.slice(Math.max(0, end - 12), end))) continue;
    add(pieces, text, start, end);
    start = end;
  }
  add(pieces, text, start, text.length);
  return pieces;
}

/** Without the space around. */
function add(pieces: Piece[], text: string, from: number, to: number): void {
  const all = text.slice(from, to);
  const trimmed = all.trim();
  if (trimmed === "") return;
  const start = from + all.indexOf(trimmed);
  pieces.push({ text: trimmed, start, end: start + trimmed.length });
}

/** A text of this length is remembered as one. */
const MOST_CHARACTERS = 1_200;
/** Longer ones are cut at sentences into pieces of about this length. */
const WANTED_CHARACTERS = 600;

/** Pieces to remember: a short text as it is, a longer one by paragraphs, then by sentences; nothing but space is lost. */
export function piecesOf(text: string): Piece[] {
  if (text.length <= MOST_CHARACTERS) {
    const whole: Piece[] = [];
    add(whole, text, 0, text.length);
    return whole;
  }
  const pieces: Piece[] = [];
  for (const paragraph of paragraphsOf(text)) {
    let [start, end] = [paragraph.start, paragraph.start];
    for (const sentence of sentencesOf(paragraph.text).flatMap(chopped)) {
      const to = paragraph.start + sentence.end;
      if (to - start > WANTED_CHARACTERS && end > start) {
        add(pieces, text, start, end);
        start = paragraph.start + sentence.start;
      }
      end = to;
    }
    add(pieces, text, start, end);
  }
  return pieces;
}

function paragraphsOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (const match of text.matchAll(/\n\s*\n/gu)) {
    add(pieces, text, start, match.index);
    start = match.index + match[0].length;
  }
  add(pieces, text, start, text.length);
  return pieces;
}

/** A sentence without an end (a table, a log) in parts, never within a character. */
function chopped(sentence: Piece): Piece[] {
  if (sentence.text.length <= MOST_CHARACTERS) return [sentence];
  const parts: Piece[] = [];
  for (let from = 0; from < sentence.text.length; ) {
    let to = Math.min(sentence.text.length, from + WANTED_CHARACTERS);
    const space = sentence.text.lastIndexOf(" ", to);
    if (to < sentence.text.length && space > from + WANTED_CHARACTERS / 2) to = space;
    else if (/[\udc00-\udfff]/.test(sentence.text.charAt(to))) to--;
    parts.push({ text: sentence.text.slice(from, to), start: sentence.start + from, end: sentence.start + to });
    from = to;
  }
  return parts;
}
