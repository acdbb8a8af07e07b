// Members of a large JSON array or object, left where they lie and parsed one at a time. It knows where members begin and end;
// whether they are JSON is seen when they are parsed.
import type { Entries } from "./parts.ts";

const code = (character: string): number => character.charCodeAt(0);
const [QUOTE, BACKSLASH, COMMA, COLON] = ['"', "\\", ",", ":"].map(code) as [number, number, number, number];
const [OPEN_OBJECT, OPEN_ARRAY] = ["{", "["].map(code) as [number, number];
const [CLOSE_OBJECT, CLOSE_ARRAY] = ["}", "]"].map(code) as [number, number];
const isSpace = (byte: number | undefined): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9;

/** What an array's member is: its value; an object's: its name and value. Names may repeat. */
export type Member = unknown | readonly [name: string, value: unknown];

export class JsonMembers implements Entries<Member> {
  readonly isObject: boolean;
  /** Just behind the closing bracket. */
  readonly end: number;
  readonly length: number;
  readonly #bytes: Buffer;
  /** Three a member: where it begins, where its value begins, where it ends. */
  readonly #places: Uint32Array;

  private constructor(bytes: Buffer, isObject: boolean, end: number, places: Uint32Array) {
    this.#bytes = bytes;
    this.isObject = isObject;
    this.end = end;
    this.#places = places;
    this.length = places.length / 3;
  }

  /** Of the array or object at `start`; undefined where another value lies there. Throws SyntaxError where it does not end. */
  static at(bytes: Buffer, start: number): JsonMembers | undefined {
    const from = skipSpaces(bytes, start);
    const isObject = bytes[from] === OPEN_OBJECT;
    if (!isObject && bytes[from] !== OPEN_ARRAY) return undefined;
    const places = new Places();
    let [begin, value, depth] = [from + 1, from + 1, 0];
    for (let at = from + 1; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) at = endOfText(bytes, at);
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++;
      else if (depth > 0) depth -= byte === CLOSE_OBJECT || byte === CLOSE_ARRAY ? 1 : 0;
      else if (byte === COLON && isObject && value === begin) value = at + 1;
      else if (byte === COMMA) {
        places.add(begin, value, at);
        [begin, value] = [at + 1, at + 1];
      } else if (byte === (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
        if (places.length > 0 || skipSpaces(bytes, begin) < at) places.add(begin, value, at);
        return new JsonMembers(bytes, isObject, at + 1, places.taken());
      }
    }
    throw new SyntaxError("an array or object does not end");
  }

  /** Throws SyntaxError where the member is not JSON. */
  at(index: number): Member | undefined {
    if (index >= this.length) return undefined;
    const [begin, value, end] = this.#placesOf(index);
    if (!this.isObject) return this.#parse(begin, end);
    const name = this.#parse(begin, value - 1);
    if (typeof name !== "string" || value === begin) throw new SyntaxError("a member of an object has no name");
    return [name, this.#parse(value, end)];
  }

  /** Where the value of an object's member of this name lies, the last where it repeats. */
  find(name: string): readonly [start: number, end: number] | undefined {
    for (let i = this.length - 1; i >= 0 && this.isObject; i--) {
      const [begin, value, end] = this.#placesOf(i);
      if (value > begin && this.#parse(begin, value - 1) === name) return [value, end];
    }
    return undefined;
  }

  #placesOf(index: number): readonly [begin: number, value: number, end: number] {
    const places = this.#places;
    return [places[index * 3] as number, places[index * 3 + 1] as number, places[index * 3 + 2] as number];
  }

  #parse(start: number, end: number): unknown {
    return JSON.parse(this.#bytes.toString("utf8", start, end));
  }
}

/** A list of places that grows. */
class Places {
  length = 0;
  #all = new Uint32Array(3 * 1024);

  add(begin: number, value: number, end: number): void {
    if (this.length === this.#all.length) {
      const larger = new Uint32Array(2 * this.length);
      larger.set(this.#all);
      this.#all = larger;
    }
    this.#all[this.length++] = begin;
    this.#all[this.length++] = value;
    this.#all[this.length++] = end;
  }

  taken(): Uint32Array {
    return this.#all.slice(0, this.length);
  }
}

function skipSpaces(bytes: Buffer, start: number): number {
  let at = start;
  while (isSpace(bytes[at])) at++;
  return at;
}

/** The closing quote of the text that begins at `start`. */
function endOfText(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return at;
}
