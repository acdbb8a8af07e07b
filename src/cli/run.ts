// `irori run MODEL [PROMPT]`: one answer, streamed as it is made or told as JSON; without a prompt on a terminal, a chat.
// It does not know how answers are made, nor how a chat is led (chat.ts).
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Answer, GenerateRequest, Lease, Prompt } from "../engine/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { isOutputClosed, print, printJson, say, stopSignal } from "./output.ts";
import { showProgress } from "./progress.ts";
import { FORMS, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  prompt: { type: "positional", required: false, description: "The prompt; - or nothing reads it from stdin" },
  raw: { type: "boolean", description: "The prompt as it is: no chat template, control tokens recognised" },
  system: { type: "string", valueHint: "TEXT", description: "The system message of the chat" },
  "max-tokens": { type: "string", valueHint: "N", description: "Longest answer (default 1024)" },
  temperature: { type: "string", valueHint: "X", description: "0 for the likeliest token always (default 0.8)" },
  "top-k": { type: "string", valueHint: "N", description: "Draw from the N likeliest tokens, 0 for all (default 40)" },
  "top-p": { type: "string", valueHint: "X", description: "Draw from the fewest that reach X (default 0.95)" },
  "min-p": { type: "string", valueHint: "X", description: "Draw from those X times as likely as the likeliest" },
  "repetition-penalty": { type: "string", valueHint: "X", description: "Make tokens seen before less likely" },
  seed: { type: "string", valueHint: "N", description: "Same seed, same answer (default: drawn and told)" },
  stop: { type: "string", valueHint: "TEXT", description: "End the answer before this text; may be repeated" },
  form: { type: "string", valueHint: "blocks|f32", description: "Serving form, or dequantised in float32" },
  verbose: { type: "boolean", description: "Tell tokens and speed after the answer also where stderr is no terminal" },
} as const satisfies ArgsDef;

export const run: Command = { args, run: runAnswer };

async function runAnswer(call: Call): Promise<number | undefined> {
  const { args, startUp } = call;
  const isJson = args.flag("json");
  const wanted = requestOf(args);
  const form = args.choice("form", FORMS);
  const isChat = args.positional("prompt") === undefined && process.stdin.isTTY === true;
  if (isChat && (isJson || args.flag("raw")))
    throw new IroriError("bad-input", {
      what: "irori run: PROMPT is missing",
      next: "give one, or leave out --json and --raw for a chat",
    });
  const text = isChat ? "" : await promptText(args);
  const signal = stopSignal();
  await using engine = await openEngine(call);
  await using lease = await lend(engine.lease.bind(engine), args.needed("model"), { form, signal, isJson });
  if (isChat) return (await import("./chat.ts")).chat(lease, wanted, { system: args.text("system"), signal });
  const prompt: Prompt = args.flag("raw")
    ? { text, control: true }
    : { messages: messagesOf(text, args.text("system")) };
  const onFirst = () => startUp.mark("first token");
  const answer = await stream(lease, { ...wanted, prompt }, { signal, onFirst, isQuiet: isJson });
  if (isJson) printJson(jsonOf(answer));
  else if (process.stderr.isTTY || args.flag("verbose")) say(summary(answer));
  return answer.stop === "cancelled" && !isOutputClosed() ? exitCodeOf("cancelled") : 0;
}

type LeaseOf = (model: string, options: Parameters<import_Lease>[1]) => Promise<Lease>;
