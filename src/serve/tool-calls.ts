// Calls of functions in an answer's text, as models of each family write them, told as they come.
// It does not know what the functions are, nor APIs.
import { pythonCall } from "./python-call.ts";
import { heldBack } from "./reasoning.ts";

export type ToolPart =
  | { readonly kind: "text"; readonly text: string }
  /** A call begins: the `index`-th of the answer. */
  | { readonly kind: "call"; readonly index: number; readonly name: string }
  /** More of the JSON of its arguments. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

export type ToolStyle = "hermes" | "llama" | "mistral" | "gemma" | "json";

/** How a family writes calls, by what its template says. */
export function toolStyleOf(template: string | undefined): ToolStyle {
  if (template === undefined) return "json";
  if (template.includes("<tool_call>")) return "hermes";
  if (template.includes("[TOOL_CALLS]")) return "mistral";
  if (template.includes("<|python_tag|>")) return "llama";
  if (template.includes("<start_of_turn>")) return "gemma";
  return "json";
}

/** Texts that begin calls, and what follows the last of them. */
const MARKERS: Readonly<Record<ToolStyle, readonly (readonly [begin: string, end: string])[]>> = {
  hermes: [["<tool_call>", "</tool_call>"]],
  mistral: [["[TOOL_CALLS]", ""]],
  llama: [["<|python_tag|>", ""]],
  gemma: [
    ["```tool_code", "```"],
    ["```json", "```"],
  ],
  json: [["```json", "```"]],
};

/** A call's JSON while it comes. */
const HEAD = /^\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\S)/;

export class ToolCalls {
  readonly #markers: readonly (readonly [string, string])[];
  readonly #names: ReadonlySet<string>;
  #state: "start" | "text" | "calls" = "start";
  #held = "";
  #whole = "";
  #end = "";
  #count = 0;
  /** The brace that closes the call itself, where it is an object, has not come. */
  #owesBrace = false;
  /** Where the arguments of the call that is coming begin in what is held, and how much of them was told. */
  #open: { readonly from: number; told: number } | undefined;

  constructor(style: ToolStyle, names: Iterable<string>) {
    this.#markers = MARKERS[style];
    this.#names = new Set(names);
  }

  /** Calls that have begun. */
  get count(): number {
    return this.#count;
  }

  push(text: string): ToolPart[] {
    this.#held += text;
    const parts: ToolPart[] = [];
    while (this.#step(parts));
    return parts;
  }

  /** Whether something was read and more may follow. */
  #step(parts: ToolPart[]): boolean {
    if (this.#state === "calls") return this.#readCall(parts);
    if (this.#state === "start") {
      const trimmed = this.#held.trimStart();
      if (trimmed === "") return false;
      // an answer that is JSON from its first character may be a call
      if (/^\[\s*$/.test(trimmed)) return false;
      if (/^(?:\[\s*)?\{\s*(?:$|")/.test(trimmed)) return this.#begin("", trimmed);
      // or a list of calls in Python, as llama 3.2 writes them
      const name = /^\[\s*([A-Za-z_][\w.]*)\s*(\(?)/.exec(trimmed);
      if (name?.[2] === "(" && this.#names.has(name[1] as string)) return this.#begin("", trimmed);
      if (name && name[0] === trimmed && [...this.#names].some((known) => known.startsWith(name[1] as string)))
        return false;
    }
    const begins = this.#markers.map(([begin]) => begin);
    const found = this.#markers
      .map(([begin, end]) => ({ begin, end, at: this.#held.indexOf(begin) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0];
    if (found) {
      const before = this.#held.slice(0, found.at).trimEnd();
      if (before !== "") parts.push({ kind: "text", text: before });
      return this.#begin(found.end, this.#held.slice(found.at + found.begin.length), found.begin);
    }
    // spaces before a call are no text
    const upTo = this.#held.slice(0, this.#held.length - heldBack(this.#held, begins)).trimEnd().length;
    if (upTo > 0) {
      parts.push({ kind: "text", text: this.#held.slice(0, upTo) });
      this.#state = "text";
    }
    this.#held = this.#held.slice(upTo);
    return false;
  }
  #begin(end: string, rest: string, marker = ""): boolean {
    this.#state = "calls";
    this.#end = end;
    this.#held = rest;
    this.#whole = marker;
    return true;
  }

  #readCall(parts: ToolPart[]): boolean {
    if (this.#open) return this.#readArguments(parts, this.#open);
    if (this.#owesBrace) {
      if (this.#held.trim() === "") return false;
      this.#held = this.#held.replace(/^\s*\}/, "");
      this.#owesBrace = false;
    }
    const skipped = /^[\s[,\])]*/.exec(this.#held)?.[0].length ?? 0;
    const rest = this.#held.slice(skipped);
    if (rest === "") return false;
    if (this.#end !== "" && rest.startsWith(this.#end)) {
      this.#held = rest.slice(this.#end.length).replace(/^\s+/, "");
      this.#whole = "";
      this.#state = "text";
      return this.#held !== "";
    }
    if (!rest.startsWith("{")) {
      const mistral = /^([\w.-]+)(?:\[CALL_ID\][\w-]*)?\[ARGS\]\s*(?=\S)/.exec(rest);
      if (mistral) return this.#called(mistral[1] as string, rest, mistral[0].length, parts);
      const python = pythonCall(rest, this.#names);
      if (python === "incomplete") return false;
      if (python) {
        parts.push({ kind: "call", index: this.#count, name: python.name });
        parts.push({ kind: "arguments", index: this.#count++, text: python.arguments });
        this.#held = rest.slice(python.end);
        return true;
      }
      if (this.#end.startsWith(rest) || /^[\w.-]{1,64}(\[[A-Z_]*\]?[\w-]*){0,2}\s*$/.test(rest)) return false;
      return this.#giveUp(parts);
    }
    const head = HEAD.exec(rest);
    if (head) {
      const name = JSON.parse(head[1] as string) as string;
      return this.#names.has(name) ? this.#called(name, rest, head[0].length, parts) : this.#giveUp(parts);
    }
    const end = endOfValue(rest, 0);
    if (end === undefined) return false;
    const call = callOf(rest.slice(0, end), this.#names);
    if (call === undefined) return this.#giveUp(parts);
    parts.push({ kind: "call", index: this.#count, name: call.name });
    parts.push({ kind: "arguments", index: this.#count++, text: call.arguments });
    this.#held = rest.slice(end);
    return true;
  }
  #called(name: string, rest: string, from: number, parts: ToolPart[]): true {
    parts.push({ kind: "call", index: this.#count++, name });
    this.#held = rest;
    this.#open = { from, told: from };
    return true;
  }

  #readArguments(parts: ToolPart[], open: { readonly from: number; told: number }): boolean {
    const end = endOfValue(this.#held, open.from);
    const upTo = end ?? this.#held.length;
    if (upTo > open.told)
      parts.push({ kind: "arguments", index: this.#count - 1, text: this.#held.slice(open.told, upTo) });
    open.told = upTo;
    if (end === undefined) return false;
    this.#open = undefined;
    this.#owesBrace = this.#held.startsWith("{");
    this.#held = this.#held.slice(end);
    return true;
  }

  /** It was no call after all: it is text as it stands. */
  #giveUp(parts: ToolPart[]): boolean {
    parts.push({ kind: "text", text: this.#whole + this.#held });
    this.#held = "";
    this.#whole = "";
    this.#end = "";
    this.#state = "text";
    return false;
  }

  /** What was held back when no more comes. */
  end(): ToolPart[] {
    const parts: ToolPart[] = [];
    const isEmpty = /^[\s[,\])}]*$/.test(this.#held) && this.#count > 0;
    if (this.#held !== "" && this.#open === undefined && !isEmpty && this.#held.trim() !== this.#end)
      parts.push({ kind: "text", text: this.#state === "calls" ? this.#whole + this.#held : this.#held });
    this.#held = "";
    return parts;
  }
}

function callOf(
  json: string,
  names: ReadonlySet<string>,
): { readonly name: string; readonly arguments: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined; // what is no JSON is no call, but text
  }
  const { name, arguments: args, parameters, function: inner } = value as Record<string, unknown>;
  if (typeof inner === "object" && inner !== null) return callOf(JSON.stringify(inner), names);
  if (typeof name !== "string" || !names.has(name)) return undefined;
  const given = args ?? parameters ?? {};
  return { name, arguments: typeof given === "string" ? given : JSON.stringify(given) };
}

/** Where a JSON value that begins at `from` ends; undefined where it is not whole. */
function endOfValue(text: string, from: number): number | undefined {
  let depth = 0;
  let isText = false;
  for (let i = from; i < text.length; i++) {
    const char = text[i] as string;
    if (isText) {
      if (char === "\\") i++;
      else if (char === '"') {
        isText = false;
        if (depth === 0) return i + 1;
      }
    } else if (char === '"') isText = true;
    else if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") {
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (depth === 0 && char === ",") return i;
  }
  return undefined;
}
