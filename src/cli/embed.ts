// `irori embed MODEL TEXT…`: texts as vectors, from arguments, lines or JSON lines.
// It does not know how they come about.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Embedded, EmbedOptions } from "../engine/mod.ts";
import type { Provider } from "../settings/mod.ts";
import type { Arguments } from "./arguments.ts";
import { attachArgs, attachedTo } from "./attach.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { openEmbedder, providerOf } from "./provider.ts";
import { leaseArgs, leaseOf, lend, openEngine } from "./settings.ts";

const POOLINGS = ["mean", "cls", "last", "max"] as const;

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  input: {
    type: "string",
    valueHint: "F",
    description: 'One text a line, or JSON lines {"text", "id"?}; - reads stdin',
  },
  prompt: {
    type: "string",
    valueHint: "NAME",
    description: "What the texts are, by the model's names (query, document)",
  },
  pooling: { type: "string", valueHint: POOLINGS.join("|"), description: "Default: as the model says, else mean" },
  dimensions: { type: "string", valueHint: "N", description: "Only the first N numbers (models trained for it)" },
  "max-tokens": { type: "string", valueHint: "N", description: "Tokens of a text at most (default: the model's)" },
  long: {
    type: "string",
    valueHint: "cut|windows",
    description: "Cut longer texts, and tell (default), or read windows",
  },
  ...leaseArgs,
  ...attachArgs,
} as const satisfies ArgsDef;

export const embed: Command = {
  args,
  rest: { name: "text", description: "The texts; none reads --input" },
  run: runEmbed,
};

async function runEmbed(call: Call): Promise<undefined> {
  const { args, startUp } = call;
  const options = {
    prompt: args.text("prompt"),
    pooling: args.choice("pooling", POOLINGS),
    dimensions: args.number("dimensions", { isWhole: true, min: 1 }),
    maxTokens: args.number("max-tokens", { isWhole: true, min: 1 }),
    long: args.choice("long", ["cut", "windows"]),
  };
  const how = leaseOf(call);
  const { texts, ids } = await textsOf(args);
  const provider = providerOf(call);
  if (provider.kind !== "local") return embedElsewhere(call, provider, options, { texts, ids });
  using stop = listenForStop();
  const { signal } = stop;
  const attached = await attachedTo(call);
  if (attached !== undefined) {
    tell(await attached.embed(texts, { ...options, signal }), ids, args.flag("json"));
    return;
  }
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { ...how, signal });
  using progress = showProgress(args.flag("json"));
  const onDone = (done: number) => progress.onProgress({ step: "embed", done, total: texts.length, unit: "texts" });
  const embeddings = await lease.embed(texts, { ...options, signal, onDone });
  startUp.mark("texts read");
  progress[Symbol.dispose]();
  tell(embeddings, ids, args.flag("json"));
}

/** Vectors of a server, or of letters and words alone: one option of a model's is understood there, what the texts are. */
async function embedElsewhere(
  call: Call,
  provider: Provider,
  { prompt, ...options }: EmbedOptions,
  { texts, ids }: Texts,
): Promise<undefined> {
  const other = Object.entries(options).find(([, value]) => value !== undefined)?.[0];
  const model = call.args.needed("model");
  if (other !== undefined)
    throw new IroriError("bad-input", { what: `the option ${other}`, got: model, wanted: "a model of this machine" });
  if (prompt !== undefined && prompt !== "query" && prompt !== "document")
    throw new IroriError("bad-input", { what: "--prompt", got: prompt, wanted: "query or document" });
  using stop = listenForStop();
  await using embedder = await openEmbedder(call, provider);
  tell(await embedder.embed(texts, { signal: stop.signal, kind: prompt }), ids, call.args.flag("json"));
}

function tell(embeddings: Embedded, ids: Texts["ids"], isJson: boolean): void {
  const vectors = embeddings.vectors.map((vector) => [...vector]);
  if (isJson) {
    const { truncated, empty, tokens } = embeddings;
    printJson({ embeddings: vectors, ...(ids && { ids }), truncated, empty, tokens });
    return;
  }
  for (const vector of vectors) print(`${JSON.stringify(vector)}\n`);
  tellDoubts(embeddings);
}

/** What somebody who reads vectors alone would not see. */
function tellDoubts({ truncated = [], empty }: Embedded): void {
  const named = (all: readonly number[]): string =>
    `${all.length === 1 ? "text" : "texts"} ${all.map((i) => i + 1).join(", ")}`;
  if (truncated.length > 0)
    say(`irori: ${named(truncated)}: longer than the model reads, the ends were cut off (--long windows reads them)`);
  if (empty.length > 0) say(`irori: ${named(empty)}: empty, so the vectors mean nothing`);
}

interface Texts {
  readonly texts: readonly string[];
  /** Of JSON lines that have some. */
  readonly ids?: readonly (string | number | null)[] | undefined;
}

async function textsOf(args: Arguments): Promise<Texts> {
  const file = args.text("input");
  if (args.rest.length > 0 && file !== undefined)
    throw new IroriError("bad-input", {
      what: "irori embed: texts and --input exclude each other",
      next: "leave one out",
    });
  if (args.rest.length > 0) return { texts: args.rest };
  if (file === undefined)
    throw new IroriError("bad-input", {
      what: "irori embed: TEXT is missing",
      next: "give texts as arguments, or a file of them with --input (- for stdin)",
    });
  const [{ z }, { parseLine, readLines }] = await Promise.all([import("zod"), import("./lines.ts")]);
  const shape = z.strictObject({ text: z.string(), id: z.union([z.string(), z.number()]).optional() });
  const all = (await readLines(file))
    .filter((line) => line.text.trim() !== "")
    .map((line) => (/^\s*\{/.test(line.text) ? parseLine(file, line, shape) : { text: line.text, id: undefined }));
  const hasIds = all.some(({ id }) => id !== undefined);
  return { texts: all.map(({ text }) => text), ids: hasIds ? all.map(({ id }) => id ?? null) : undefined };
}
