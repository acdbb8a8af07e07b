// `irori tokenize MODEL [TEXT]`: text to token ids and back. The tokenizer alone is opened, no runtime.
// It does not know tokenizers.
import { text as readAll } from "node:stream/consumers";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { type Arguments, numberOf } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson } from "./output.ts";
import { lend, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  text: { type: "positional", required: false, description: "The text; - or nothing reads it from stdin" },
  plain: { type: "boolean", description: "Control tokens written in the text are text" },
  decode: { type: "string", valueHint: "IDS", description: "Turn ids into text: 1,2,3 or [1,2,3]" },
} as const satisfies ArgsDef;

export const tokenize: Command = { args, run: runTokenize };

async function runTokenize(call: Call): Promise<undefined> {
  const { args } = call;
  const control = !args.flag("plain");
  const ids = idsOf(args);
  const text = ids === undefined ? await textOf(args) : "";
  await using engine = await openEngine(call);
  using stop = listenForStop();
  await using lease = await lend(call, engine, { warm: false, signal: stop.signal });
  if (ids !== undefined) {
    const { vocabSize } = lease.manifest.config;
    const unknown = ids.find((id) => id >= vocabSize);
    if (unknown !== undefined)
      throw new IroriError("bad-input", { what: "--decode", got: unknown, wanted: `ids from 0 to ${vocabSize - 1}` });
    const decoded = lease.detokenize(ids, { control });
    if (args.flag("json")) printJson({ text: decoded });
    else print(`${decoded}\n`);
    return;
  }
  const encoded = lease.tokenize(text, { control });
  if (args.flag("json")) printJson({ ids: encoded });
  else print(`${encoded.join(",")}\n`);
}

function idsOf(args: Arguments): number[] | undefined {
  const list = args.text("decode")?.trim();
  if (list === undefined) return undefined;
  if (args.positional("text") !== undefined)
    throw new IroriError("bad-input", { what: "TEXT and --decode exclude each other", next: "leave one out" });
  const inner = list.startsWith("[") && list.endsWith("]") ? list.slice(1, -1) : list;
  if (inner.trim() === "") return [];
  return inner.split(",").map((id) => numberOf("--decode: an id", id, { isWhole: true, min: 0 }));
}

async function textOf(args: Arguments): Promise<string> {
  const given = args.positional("text");
  if (given !== undefined && given !== "-") return given;
  if (given === undefined && process.stdin.isTTY)
    throw new IroriError("bad-input", { what: "irori tokenize: TEXT is missing", next: "give it or pipe it in" });
  return readAll(process.stdin);
}
