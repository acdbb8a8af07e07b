// `irori summarize FILE|URL|-…`: summaries of texts of any length, with an account of every byte. Run again, it goes on where it was stopped.
// It does not know how summaries are made.
import { readFile } from "node:fs/promises";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { readDocument } from "../memory/mod.ts";
import type { Attached } from "../serve/attach/mod.ts";
import {
  fetchText,
  openSummarizer,
  ProcessHost,
  type Summary,
  summarize as summarizeText,
  summaryText,
} from "../serve/mod.ts";
import { attachArgs, attachedTo } from "./attach.ts";
import type { Call, Command } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { listenForStop, print, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { answerArgs, leaseOf, settingsOf } from "./settings.ts";
import { readText } from "./text-file.ts";
import { workFileIn } from "./work-file.ts";

const args = {
  source: {
    type: "positional",
    description: "A file (text, Markdown, HTML, PDF), an address (https://…), or - for stdin",
  },
  model: { type: "string", valueHint: "NAME", description: "Who summarises (default: the setting generator)" },
  language: {
    type: "string",
    valueHint: "CODE",
    description: "Language of the summary: en, ja … (default: the text's)",
  },
  bullets: { type: "string", valueHint: "N", description: "Bullets at most (default 8)" },
  format: { type: "string", valueHint: "text|markdown", description: "How it is printed (default text)" },
  "chunk-tokens": { type: "string", valueHint: "N", description: "Tokens of a part at most (default 2400)" },
  "at-once": { type: "string", valueHint: "N", description: "Parts read at once (default 4; a server's slots)" },
  ...answerArgs,
  ...attachArgs,
} as const satisfies ArgsDef;

export const summarize: Command = {
  args,
  rest: { name: "sources", description: "Further ones; one that fails does not stop the others" },
  run: runSummarize,
};

async function runSummarize(call: Call): Promise<number> {
  const { args } = call;
  const isJson = args.flag("json");
  const format = args.choice("format", ["text", "markdown"]) ?? "text";
  const sources = [args.needed("source"), ...args.rest];
  if (new Set(sources).size < sources.length)
    throw new IroriError("bad-input", { what: "irori summarize", got: "a source twice", wanted: "each once" });
  const atOnce = args.number("at-once", { isWhole: true, min: 1, max: 16 }) ?? 4;
  using stop = listenForStop();
  const { signal } = stop;
  using progress = showProgress(isJson);
  const options = {
    ...{ signal, onProgress: progress.onProgress, language: args.text("language") },
    bullets: args.number("bullets", { isWhole: true, min: 1, max: 30 }),
    chunkTokens: args.number("chunk-tokens", { isWhole: true, min: 64 }),
  };
  await using writer = await openWriter(call, atOnce, signal);
  const responses: (Summary & { id: string })[] = [];
  const errors: { id: string; code: string; message: string }[] = [];
  for (const id of sources) {
    try {
      responses.push({ id, ...(await writer.summarize(await textOf(id, signal), options)) });
    } catch (error) {
      if (signal.aborted)
        throw new IroriError("cancelled", { what: "stopped", next: "the same command goes on from here" });
      if (!(error instanceof IroriError) || sources.length === 1) throw error;
      errors.push({ id, code: error.code, message: error.message });
      continue;
    } finally {
      progress[Symbol.dispose]();
    }
    const made = responses.at(-1) as Summary & { id: string };
    if (!isJson) print(`${sources.length > 1 ? `${id}\n` : ""}${summaryText(made, format)}`);
  }
  const { server } = writer;
  if (isJson) printJson(sources.length === 1 ? { ...responses[0], server } : { responses, errors, server });
  else for (const { id, message } of errors) say(`irori: ${id}: ${message}`);
  return errors.length > 0 ? exitCodeOf(errors[0]?.code as IroriError["code"]) : 0;
}

interface Writer extends AsyncDisposable {
  /** The address of a running server that it is. */
  readonly server?: string | undefined;
  readonly summarize: Attached["summarize"];
}

/** A running server, or an engine of its own. */
async function openWriter(call: Call, atOnce: number, signal: AbortSignal): Promise<Writer> {
  const model = modelOf(call);
  const attached = await attachedTo(call, model);
  if (attached !== undefined) {
    if (call.args.text("at-once") !== undefined && !call.args.flag("json"))
      say("irori: --at-once is left aside: as many parts are read at once as the server has slots");
    return {
      server: attached.record.url,
      summarize: (text, wants) => attached.summarize(text, wants),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
  const { settings } = settingsOf(call);
  const opened = await openSummarizer({
    host: new ProcessHost({ settings, rows: atOnce, lease: leaseOf(call) }),
    ...{ model, workFile: workFileIn(settings.home), atOnce, signal },
  });
  return {
    summarize: (text, wants) => summarizeText(text, { ...opened, ...wants }),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function modelOf(call: Call): string {
  const model = call.args.text("model") ?? settingsOf(call).settings.generator;
  if (model !== "mock") return model;
  throw new IroriError("bad-input", {
    what: "irori summarize has no model",
    next: "name one with --model (smollm2-135m), or set it: irori settings set generator smollm2-135m",
  });
}

async function textOf(source: string, signal: AbortSignal): Promise<string> {
  if (/^https?:\/\//i.test(source)) return (await fetchText(source, { isPublicOnly: false, signal })).text;
  if (source === "-") return readText("-");
  const bytes = await readFile(source).catch((error: NodeJS.ErrnoException) => {
    const code = error.code === "ENOENT" ? "not-found" : "io";
    throw new IroriError(code, { what: `${source} cannot be read`, got: error.message, cause: error });
  });
  return readDocument(source, bytes);
}
