// A call as some models write it in Python: `weather(city="Paris", days=2)`, with literals for arguments. It does not know families.

export interface PythonCall {
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
  /** Where the text goes on. */
  readonly end: number;
}

class Incomplete extends Error {}
class NoCall extends Error {}

/** The call that a text begins with; "incomplete" where more of it must come, undefined where it is none of these functions. */
export function pythonCall(text: string, names: ReadonlySet<string>): PythonCall | "incomplete" | undefined {
  const head = /^(?:print\s*\(\s*)?([A-Za-z_][\w.]*)\s*\(/.exec(text);
  if (head === null || (head[1] === "print" && !names.has("print")))
    return /^print\s*\(\s*[\w.]*\s*$/.test(text) ? "incomplete" : undefined;
  const name = head[1] as string;
  if (!names.has(name)) return undefined;
  try {
    const { values, end } = new Reader(text, head[0].length).named();
    return { name, arguments: JSON.stringify(values), end };
  } catch (error) {
    if (error instanceof Incomplete) return "incomplete";
    if (error instanceof NoCall) return undefined;
    throw error;
  }
}

const WORDS: Readonly<Record<string, boolean | null>> = {
  ...{ True: true, False: false, None: null, true: true, false: false, null: null },
};
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\n": "" };
const MOST_DEPTH = 64;

class Reader {
  readonly #text: string;
  #at: number;
  #depth = 0;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  /** `a=1, b="x")` */
  named(): { readonly values: Record<string, unknown>; readonly end: number } {
    const values: Record<string, unknown> = {};
    while (this.#peek() !== ")") {
      const name = this.#match(/[A-Za-z_]\w*/y);
      if (this.#peek() !== "=") throw new NoCall();
      this.#at++;
      values[name] = this.#value();
      this.#comma(")");
    }
    return { values, end: this.#at + 1 };
  }

  /** The next character that is no space. */
  #peek(): string {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
    const next = this.#text[this.#at];
    if (next === undefined) throw new Incomplete();
    return next;
  }
  #comma(end: string): void {
    const next = this.#peek();
    if (next === ",") this.#at++;
    else if (next !== end) throw new NoCall();
  }
  #match(pattern: RegExp): string {
    this.#peek();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw new NoCall();
    this.#at += found.length;
    // it may go on
    if (this.#at === this.#text.length) throw new Incomplete();
    return found;
  }

  #value(): unknown {
    const next = this.#peek();
    if (next === '"' || next === "'") return this.#string(next);
    if (next === "[" || next === "(") return this.#list(next === "[" ? "]" : ")");
    if (next === "{") return this.#dict();
    if (/[-+\d.]/.test(next)) {
      const number = Number(this.#match(/[-+\d.eE_]+/y).replaceAll("_", ""));
      if (Number.isNaN(number)) throw new NoCall();
      return number;
    }
    const word = this.#match(/[A-Za-z]+/y);
    if (!Object.hasOwn(WORDS, word)) throw new NoCall();
    return WORDS[word];
  }

  #string(quote: string): string {
    let said = "";
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const letter = this.#text[this.#at] as string;
      if (letter === quote) {
        this.#at++;
        return said;
      }
      if (letter !== "\\") said += letter;
      else {
        const escaped = this.#text[++this.#at];
        if (escaped === undefined) break;
        said += ESCAPES[escaped] ?? escaped;
      }
    }
    throw new Incomplete();
  }
  #list(end: string): unknown[] {
    const values: unknown[] = [];
    this.#enter();
    while (this.#peek() !== end) {
      values.push(this.#value());
      this.#comma(end);
    }
    this.#leave();
    return values;
  }
  #dict(): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    this.#enter();
    while (this.#peek() !== "}") {
      const key = this.#value();
      if (this.#peek() !== ":") throw new NoCall();
      this.#at++;
      values[String(key)] = this.#value();
      this.#comma("}");
    }
    this.#leave();
    return values;
  }
  #enter(): void {
    this.#at++;
    if (++this.#depth > MOST_DEPTH) throw new NoCall();
  }
  #leave(): void {
    this.#at++;
    this.#depth--;
  }
}
