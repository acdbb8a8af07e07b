// `irori run MODEL [PROMPT]`: one answer, streamed as it is made or told as JSON; without a prompt on a terminal, a chat.
// It does not know how answers are made, nor how a chat is led (chat.ts).
import { text as readAll } from "node:stream/consumers";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Lease, Prompt } from "../engine/mod.ts";
import type { Provider } from "../settings/mod.ts";
import { answerOf, streamAnswer, summary } from "./answer.ts";
import type { Arguments } from "./arguments.ts";
import { attachArgs, attachedTo } from "./attach.ts";
import type { Call, Command } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { insideArgs, readInside } from "./inside.ts";
import { isOutputClosed, listenForStop, print, printJson, say } from "./output.ts";
import { openGenerator, providerOf } from "./provider.ts";
import { requestArgs, type Wanted, wantedOf } from "./request.ts";
import { answerArgs, type LendOptions, leaseOf, lend, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  prompt: { type: "positional", required: false, description: "The prompt; - or nothing reads it from stdin" },
  raw: { type: "boolean", description: "The prompt as it is: no chat template, control tokens recognised" },
  system: { type: "string", valueHint: "TEXT", description: "The system message of the chat" },
  ...requestArgs,
  ...insideArgs,
  ...answerArgs,
  ...attachArgs,
  verbose: { type: "boolean", description: "Tell tokens and speed also where stderr is no terminal" },
} as const satisfies ArgsDef;

export const run: Command = { args, run: runAnswer };

async function runAnswer(call: Call): Promise<number> {
  const { args, startUp } = call;
  const wanted = { ...wantedOf(args), ...(await readInside(args)) };
  const how = leaseOf(call);
  const isChat = args.positional("prompt") === undefined && process.stdin.isTTY === true;
  const prompt = isChat ? refuseOptions(args) : await promptOf(args);
  const provider = providerOf(call);
  if (provider.kind !== "local") return answerElsewhere(call, provider, wanted, prompt);
  using stop = listenForStop();
  const { signal } = stop;
  const isInside = Boolean(wanted.interventions?.length || wanted.adapter || wanted.capture?.length);
  const attached = isInside ? undefined : await attachedTo(call);
  await using opened = attached === undefined ? await openedHere(call, { ...how, signal }) : undefined;
  const lease = attached ?? (opened?.lease as Lease);
  if (prompt === undefined) {
    const { chat } = await import("./chat.ts");
    stop[Symbol.dispose](); // in a chat, Ctrl-C stops an answer
    return await chat(lease, wanted, args.text("system"));
  }
  const isQuiet = args.flag("json");
  const onFirst = () => startUp.mark("first token");
  const answer = await streamAnswer(lease, { ...wanted, prompt }, { signal, isQuiet, onFirst });
  if (isQuiet) {
    const { text, ids, promptTokens, hasBos, stop, timings, seed, logprobs } = answer;
    printJson({ text, ids, promptTokens, hasBos, stop, timings, seed, logprobs, server: attached?.record.url });
  } else if (process.stderr.isTTY || args.flag("verbose")) say(summary(answer));
  return answer.stop === "cancelled" && !isOutputClosed() ? exitCodeOf("cancelled") : 0;
}

/** A lease of the model, and the engine behind it, until disposed of. */
async function openedHere(call: Call, options: LendOptions): Promise<AsyncDisposable & { readonly lease: Lease }> {
  await using stack = new AsyncDisposableStack();
  const lease = stack.use(await lend(call, stack.use(await openEngine(call)), options));
  const owned = stack.move();
  return { lease, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** An answer of a server or of what stands in for a model: the same, without what only weights can give. */
async function answerElsewhere(
  call: Call,
  provider: Provider,
  { interventions, tensors, adapter, capture, ...wanted }: Wanted,
  prompt: Prompt | undefined,
): Promise<number> {
  const { args, startUp } = call;
  if (prompt === undefined)
    throw new IroriError("bad-input", {
      what: `irori run ${args.needed("model")}: PROMPT is missing`,
      next: "give one as argument or through a pipe: only models of this machine lead a chat",
    });
  if (interventions?.length || adapter || capture?.length)
    throw new IroriError("bad-input", {
      what: "the inside of a model",
      got: args.needed("model"),
      wanted: "a model of this machine",
    });
  using stop = listenForStop();
  await using generator = await openGenerator(call, provider);
  const isQuiet = args.flag("json");
  let written = 0;
  const answer = await answerOf(generator, { ...wanted, prompt }, stop.signal, (text) => {
    if (written === 0) startUp.mark("first token");
    written += text.length;
    if (!isQuiet) print(text);
  });
  const { text, ids, promptTokens, tokens, stop: end, seed, firstTokenMs, totalMs, logprobs } = answer;
  if (isQuiet) printJson({ text, ids, promptTokens, tokens, stop: end, seed, firstTokenMs, totalMs, logprobs });
  else print(`${text.slice(written)}\n`);
  return end === "cancelled" && !isOutputClosed() ? exitCodeOf("cancelled") : 0;
}

/** A chat is led through the model's template and on a terminal. */
function refuseOptions(args: Arguments): undefined {
  for (const name of ["json", "raw"])
    if (args.flag(name))
      throw new IroriError("bad-input", {
        what: `irori run --${name}: PROMPT is missing`,
        next: `give one as argument or through a pipe; a chat goes without --${name}`,
      });
}

async function promptOf(args: Arguments): Promise<Prompt> {
  const given = args.positional("prompt");
  const text = given === undefined || given === "-" ? await readAll(process.stdin) : given;
  if (args.flag("raw") && args.text("system") !== undefined)
    throw new IroriError("bad-input", { what: "--system and --raw exclude each other", next: "leave one out" });
  if (args.flag("raw")) return { text, control: true };
  const question = given === text ? text : text.replace(/\r?\n$/, "");
  if (question === "")
    throw new IroriError("bad-input", { what: "the prompt is empty", next: "give it as argument or through a pipe" });
  const system = args.text("system");
  const messages = [{ role: "user", content: question }];
  return { messages: system === undefined ? messages : [{ role: "system", content: system }, ...messages] };
}
