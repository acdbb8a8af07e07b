// `irori batch MODEL --input F --out F`: an answer for every line of a file, many at once, written in their order; run again, it goes
// on where it was stopped. It does not know how answers are made, nor how the file of answers is kept (batch-file.ts).
import { setTimeout as wait } from "node:timers/promises";
import type { ArgsDef } from "citty";
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import type { Generator, GeneratorRequest, Prompt } from "../engine/mod.ts";
import { type Attached, batchGenerator, ServerError } from "../serve/attach/mod.ts";
import { answerOf } from "./answer.ts";
import type { Arguments } from "./arguments.ts";
import { attachArgs, attachedTo } from "./attach.ts";
import { BatchFile, inTheirOrder } from "./batch-file.ts";
import type { Call, Command } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { type Line, parseLine, readLines } from "./lines.ts";
import { listenForStop, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { openGenerator, providerOf } from "./provider.ts";
import { requestArgs, type Wanted, wantedOf } from "./request.ts";
import { answerArgs, leaseOf } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  input: {
    type: "string",
    required: true,
    valueHint: "F",
    description: 'One prompt a line, or JSON lines {"prompt" or "messages", "id"?, "maxTokens"?, …}; - reads stdin',
  },
  out: {
    type: "string",
    required: true,
    valueHint: "F",
    description: "JSON lines of answers; what is there is not made again",
  },
  concurrency: { type: "string", valueHint: "N", description: "Answers made at once (default 8)" },
  system: { type: "string", valueHint: "TEXT", description: "The system message before every prompt" },
  raw: { type: "boolean", description: "Prompts as they are: no chat template, control tokens recognised" },
  ...requestArgs,
  seed: { ...requestArgs.seed, description: "Seed of the first line, each further one's is one more (default 0)" },
  ...answerArgs,
  ...attachArgs,
} as const satisfies ArgsDef;

export const batch: Command = { args, run: runBatch };

const number = z.number();
/** A line: a prompt or a chat, and what is otherwise than in the options. */
const shape = z.strictObject({
  id: z.union([z.string(), number]).optional(),
  prompt: z.string().optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.string() })).optional(),
  maxTokens: z.int().positive().optional(),
  seed: z.int().nonnegative().optional(),
  stop: z.array(z.string()).optional(),
  temperature: number.min(0).optional(),
  topK: z.int().min(0).optional(),
  topP: number.positive().max(1).optional(),
  minP: number.min(0).max(1).optional(),
  typicalP: number.positive().max(1).optional(),
  repetitionPenalty: number.positive().optional(),
  frequencyPenalty: number.optional(),
  presencePenalty: number.optional(),
});

/** The seed of the first line where none is given: the same file, the same answers. */
const FIRST_SEED = 0;
const MOST_AT_ONCE = 256;

async function runBatch(call: Call): Promise<number> {
  const { args } = call;
  const [input, out] = [needed(args, "input"), needed(args, "out")];
  const concurrency = args.number("concurrency", { isWhole: true, min: 1, max: MOST_AT_ONCE }) ?? 8;
  const wanted = wantedOf(args);
  const seed = args.text("seed") === undefined ? FIRST_SEED : wanted.seed;
  const how = leaseOf(call);
  const lines = (await readLines(input)).filter(({ text }) => text.trim() !== "");
  const settings = {
    model: args.needed("model"),
    ...how,
    ...wanted,
    seed,
    system: args.text("system"),
    raw: args.flag("raw"),
  };
  await using file = await BatchFile.open(out, lines, JSON.stringify(settings));
  if (file.done > 0 && !args.flag("json")) say(`irori: ${file.done} of ${lines.length} answers are in ${out} already`);
  const start = performance.now();
  const rest = { input, lines, concurrency, wanted, seed };
  const { tokens, server, gone } = file.done < lines.length ? await answerRest(call, file, rest) : NOTHING;
  const seconds = (performance.now() - start) / 1000;
  const isWhole = file.done === lines.length;
  const { failed } = file;
  if (args.flag("json")) printJson({ answers: file.done, of: lines.length, failed, tokens, seconds, server });
  else {
    const next = isWhole ? "" : "; the same command goes on from here";
    const errors = failed > 0 ? `, ${failed} of them errors` : "";
    say(`irori: ${file.done} of ${lines.length} answers${errors}, ${tokens} tokens in ${seconds.toFixed(1)} s${next}`);
  }
  if (gone !== undefined) throw gone;
  if (!isWhole) return exitCodeOf("cancelled");
  return failed > 0 ? exitCodeOf("bad-input") : 0;
}

interface Rest {
  readonly input: string;
  readonly lines: readonly Line[];
  readonly concurrency: number;
  readonly wanted: Wanted;
  /** Of line 1; each line's is one more. */
  readonly seed: number;
}

interface Outcome {
  readonly tokens: number;
  /** The address of the server that answered. */
  readonly server?: string | undefined;
  /** It went away: the lines that are left have no fault. */
  readonly gone?: ServerError | undefined;
}
const NOTHING: Outcome = { tokens: 0 };

/** Answers what has no answer yet. */
async function answerRest(
  call: Call,
  file: BatchFile,
  { input, lines, concurrency, wanted, seed }: Rest,
): Promise<Outcome> {
  const { args } = call;
  using stop = listenForStop();
  const { signal } = stop;
  const provider = providerOf(call);
  const attached = provider.kind === "local" ? await attachedTo(call) : undefined;
  await using generator = attached ? patientGenerator(call, attached) : await openGenerator(call, provider);
  const rest = lines.slice(file.done);
  let gone: ServerError | undefined;
  using progress = showProgress(args.flag("json"));
  let tokens = 0;
  const answer = async (line: Line): Promise<object | undefined> => {
    const { number } = line;
    let id: string | number | undefined;
    try {
      const { id: given, ...request } = requestOf(args, input, line, { ...wanted, seed: seed + number - 1 });
      id = given;
      const made = await answerOf(generator, request, signal);
      if (made.stop === "cancelled") return undefined;
      tokens += made.tokens ?? 0;
      const { text, ids, promptTokens, stop: end, seed: own, logprobs } = made;
      return { line: number, ...(id !== undefined && { id }), text, ids, promptTokens, stop: end, seed: own, logprobs };
    } catch (error) {
      if (!(error instanceof IroriError)) throw error;
      if (error.code === "cancelled") return undefined;
      if (error instanceof ServerError && error.isGone) {
        gone = error;
        return undefined;
      }
      if (!args.flag("json")) say(`irori: line ${number}: ${error.message}`);
      return { line: number, ...(id !== undefined && { id }), error: { code: error.code, message: error.message } };
    }
  };
  await inTheirOrder(rest, concurrency, answer, async (result, line) => {
    await file.add(line, result);
    progress.onProgress({ step: "answer", done: file.done, total: lines.length, unit: "prompts" });
  });
  return { tokens, server: attached?.record.url, gone };
}

/** Says once that the server has to be waited for. */
function patientGenerator({ args }: Call, attached: Attached): Generator {
  let isTold = args.flag("json");
  const onWait = ({ message }: ServerError): void => {
    if (!isTold) say(`irori: waiting: ${message}`);
    isTold = true;
  };
  return batchGenerator(attached, { wait: (ms, signal) => wait(ms, undefined, signal && { signal }), onWait });
}

function needed(args: Arguments, name: string): string {
  const text = args.text(name);
  if (text !== undefined) return text;
  throw new IroriError("bad-input", { what: `irori batch: --${name} is missing`, next: "name a file of JSON lines" });
}

function requestOf(
  args: Arguments,
  input: string,
  line: Line,
  wanted: Wanted,
): GeneratorRequest & { readonly id?: string | number | undefined } {
  const given = /^\s*\{/.test(line.text) ? parseLine(input, line, shape) : { prompt: line.text };
  const { id, prompt, messages, maxTokens, seed, stop, ...sampling } = given as z.infer<typeof shape>;
  const what = `${input}, line ${line.number}`;
  if ((prompt === undefined) === (messages === undefined))
    throw new IroriError("bad-input", { what, got: "prompt and messages: none or both", wanted: "one of them" });
  const changed = Object.fromEntries(Object.entries(sampling).filter(([, value]) => value !== undefined));
  return {
    ...wanted,
    id,
    prompt: promptOf(args, what, prompt, messages),
    sampling: { ...wanted.sampling, ...changed },
    ...(maxTokens !== undefined && { maxTokens }),
    ...(seed !== undefined && { seed }),
    ...(stop !== undefined && { stop }),
  };
}

function promptOf(
  args: Arguments,
  what: string,
  prompt: string | undefined,
  messages: Extract<Prompt, { messages: unknown }>["messages"] | undefined,
): Prompt {
  if (prompt === "") throw new IroriError("bad-input", { what, got: "an empty prompt" });
  if (args.flag("raw")) {
    if (prompt !== undefined) return { text: prompt, control: true };
    throw new IroriError("bad-input", { what, got: "messages", wanted: "a prompt: --raw knows no chats" });
  }
  const system = args.text("system");
  const before = system === undefined ? [] : [{ role: "system", content: system }];
  return { messages: [...before, ...(messages ?? [{ role: "user", content: prompt as string }])] };
}
