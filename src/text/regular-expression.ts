// Translates regular expressions of tokenizer.json (Oniguruma, Ruby syntax) into JavaScript's with the flag "u".
// Knows syntax only: what it cannot say with the same meaning it refuses by name.
import { IroriError } from "../base/mod.ts";

/** Oniguruma's classes are Unicode properties; JavaScript's \s has U+FEFF and lacks U+0085, its \d and \w are ASCII. */
const classEscapes: Readonly<Record<string, string>> = {
  s: "\\p{White_Space}",
  S: "\\P{White_Space}",
  d: "\\p{Nd}",
  D: "\\P{Nd}",
  w: "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}",
};
const sameEscapes = new Set(["n", "r", "t", "f", "v"]);
const needsEscape = /[\\^$.*+?()[\]{}|/]/;

interface Reader {
  readonly source: string;
  at: number;
  atomics: number;
}

/** The same language as a JavaScript pattern for the flag "u". Throws "unsupported" naming the part it cannot say. */
export function translateRegex(source: string): string {
  const reader: Reader = { source, at: 0, atomics: 0 };
  const pattern = alternatives(reader);
  if (reader.at < source.length) throw refused(source, `")" without "(" at ${reader.at}`);
  try {
    new RegExp(pattern, "u");
  } catch (cause) {
    throw refused(source, cause instanceof Error ? cause.message : String(cause), cause);
  }
  return pattern;
}

function refused(source: string, part: string, cause?: unknown): IroriError {
  return new IroriError("unsupported", {
    what: `the pre-tokenizer's regular expression ${JSON.stringify(source)} has a part that Irori cannot run`,
    got: part,
    next: "use a checkpoint whose tokenizer has another pre-tokenizer, or ask for this part",
    cause,
  });
}

/** Everything up to the closing bracket of the group that we are in. */
function alternatives(reader: Reader): string {
  let out = "";
  while (reader.at < reader.source.length && reader.source[reader.at] !== ")") {
    if (reader.source[reader.at] === "|") {
      out += "|";
      reader.at++;
    } else {
      const atom = readAtom(reader);
      out += quantified(reader, atom);
    }
  }
  return out;
}

function readAtom(reader: Reader): string {
  const { source } = reader;
  const char = String.fromCodePoint(source.codePointAt(reader.at) ?? 0);
  if (char === "[") return readClass(reader);
  if (char === "(") return readGroup(reader);
  if (char === "\\") return readEscape(reader, false);
  if (/[*+?]/.test(char)) throw refused(source, `"${char}" at ${reader.at} has nothing to repeat`);
  reader.at += char.length;
  // In Ruby's syntax ^ and $ stand at every line, and a dot is all but a line feed.
  if (char === "^") return "(?<![^\\n])";
  if (char === "$") return "(?![^\\n])";
  if (char === ".") return "[^\\n]";
  return needsEscape.test(char) ? `\\${char}` : char;
}

/** `X?+`, `X*+`, `X++` give nothing back: written as a look-ahead that captures, then the capture. */
function quantified(reader: Reader, atom: string): string {
  const found = /^(?:[*+?]|\{\d*,?\d*\})/.exec(reader.source.slice(reader.at, reader.at + 24))?.[0];
  if (found === undefined || found === "{}" || found === "{,}") return atom;
  reader.at += found.length;
  const quantifier = found.startsWith("{,") ? `{0${found.slice(1)}` : found;
  const after = reader.source[reader.at];
  if (after === "?" && !found.startsWith("{")) {
    reader.at++;
    return `${atom}${quantifier}?`;
  }
  if (after !== "+") return `${atom}${quantifier}`;
  reader.at++;
  // Only ?, * and + become possessive by a plus; after an interval it repeats the whole.
  return found.startsWith("{") ? `(?:${atom}${quantifier})+` : atomic(reader, `${atom}${quantifier}`);
}

function atomic(reader: Reader, body: string): string {
  const name = `atomic${reader.atomics++}`;
  return `(?:(?=(?<${name}>${body}))\\k<${name}>)`;
}

const groupStarts = ["(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?>"] as const;

function readGroup(reader: Reader): string {
  const { source, at } = reader;
  const start = groupStarts.find((head) => source.startsWith(head, at));
  if (start === undefined && source.startsWith("(?", at)) throw refused(source, source.slice(at, at + 6));
  reader.at += start?.length ?? 1;
  const body = alternatives(reader);
  if (source[reader.at] !== ")") throw refused(source, `"(" at ${at} is never closed`);
  reader.at++;
  // What a group captured is never asked for, so plain groups do not capture.
  return start === "(?>" ? atomic(reader, body) : `${start ?? "(?:"}${body})`;
}

function readEscape(reader: Reader, inClass: boolean): string {
  const { source } = reader;
  const char = source[reader.at + 1];
  if (char === undefined) throw refused(source, "a backslash at the end");
  reader.at += 2;
  if (char === "p" || char === "P") return readProperty(reader, char);
  if (char === "u" || char === "x") return readCodePoint(reader, char);
  const property = classEscapes[char];
  if (property !== undefined) return inClass || char !== "w" ? property : `[${property}]`;
  if (sameEscapes.has(char)) return `\\${char}`;
  if (/[A-Za-z0-9]/.test(char)) throw refused(source, `\\${char}`);
  if (inClass) return /[\\\]^-]/.test(char) ? `\\${char}` : char;
  return needsEscape.test(char) ? `\\${char}` : char;
}

function readProperty(reader: Reader, letter: "p" | "P"): string {
  const found = /^\{(\^?)([A-Za-z_]+)\}/.exec(reader.source.slice(reader.at, reader.at + 48));
  if (found === null) throw refused(reader.source, `\\${letter}${reader.source.slice(reader.at, reader.at + 8)}`);
  reader.at += found[0].length;
  const [, caret, name = ""] = found;
  const isNegative = (letter === "P") !== (caret === "^");
  // One or two letters are a general category; a longer name is a script (Han, Latin, …).
  const property = name.length <= 2 || name === "White_Space" || name === "Alphabetic" ? name : `Script=${name}`;
  return `\\${isNegative ? "P" : "p"}{${property}}`;
}

function readCodePoint(reader: Reader, letter: "u" | "x"): string {
  const rest = reader.source.slice(reader.at, reader.at + 12);
  const found =
    letter === "u" ? /^([0-9A-Fa-f]{4})/.exec(rest) : /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{1,2}))/.exec(rest);
  if (found === null) throw refused(reader.source, `\\${letter}${rest}`);
  reader.at += found[0].length;
  return `\\u{${found[1] ?? found[2]}}`;
}

function readClass(reader: Reader): string {
  const { source } = reader;
  const start = reader.at++;
  let out = "[";
  if (source[reader.at] === "^") {
    out += "^";
    reader.at++;
  }
  for (let isFirst = true; ; isFirst = false) {
    const char = source[reader.at];
    if (char === undefined) throw refused(source, `"[" at ${start} is never closed`);
    if (char === "]" && !isFirst) break;
    if (char === "[" || source.startsWith("&&", reader.at)) throw refused(source, `a set inside the set at ${start}`);
    if (char === "\\") out += readEscape(reader, true);
    else {
      out += char === "]" ? "\\]" : char;
      reader.at++;
    }
  }
  reader.at++;
  return `${out}]`;
}
