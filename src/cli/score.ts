// `irori score MODEL --file F`: negative log likelihoods of a text's tokens; with --prompt, of continuations of a prompt.
// It does not know how they come about.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { columns, listenForStop, print, printJson } from "./output.ts";
import { showProgress } from "./progress.ts";
import { answerArgs, leaseOf, lend, openEngine } from "./settings.ts";
import { readText } from "./text-file.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  file: { type: "string", valueHint: "F", description: "The text, UTF-8; - reads stdin" },
  prompt: { type: "string", valueHint: "TEXT", description: "Score continuations of this instead" },
  continuation: { type: "string", valueHint: "TEXT", description: "A continuation, its space in front; repeatable" },
  "max-tokens": { type: "string", valueHint: "N", description: "Only the first N tokens of the text" },
  ...answerArgs,
} as const satisfies ArgsDef;

export const score: Command = { args, run: runScore };

async function runScore(call: Call): Promise<undefined> {
  const { args } = call;
  const most = args.number("max-tokens", { isWhole: true, min: 2 });
  const prompt = args.text("prompt");
  if (prompt !== undefined) return scoreContinuations(call, prompt);
  const text = await readText(fileOf(args));
  using stop = listenForStop();
  const { signal } = stop;
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { ...leaseOf(call), signal });
  const ids = lease.tokenize(text).slice(0, most);
  using progress = showProgress(args.flag("json"));
  const onDone = (done: number) => progress.onProgress({ step: "scoring", done, total: ids.length - 1, unit: "steps" });
  const { meanNll, perplexity, nll, argmax } = await lease.score(ids, { signal, onDone });
  progress[Symbol.dispose]();
  if (args.flag("json")) {
    printJson({ ids, meanNll, perplexity, nll, argmax });
    return;
  }
  const hits = argmax.filter((id, i) => id === ids[i + 1]).length;
  const rows = [
    ["tokens", String(ids.length)],
    ["mean NLL", `${meanNll.toFixed(4)} nats`],
    ["perplexity", perplexity.toFixed(3)],
    ["likeliest token is the text's", `${((100 * hits) / nll.length).toFixed(1)} %`],
  ];
  print(columns(rows));
}

async function scoreContinuations(call: Call, prompt: string): Promise<undefined> {
  const { args } = call;
  const texts = args.texts("continuation");
  if (texts.length === 0 || args.text("file") !== undefined)
    throw new IroriError("bad-input", {
      what: "irori score --prompt",
      got: texts.length === 0 ? "no --continuation" : "--file",
      wanted: "one --continuation or more, and no --file",
    });
  using stop = listenForStop();
  const { signal } = stop;
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { ...leaseOf(call), signal });
  const scores = await lease.scoreContinuations({ text: prompt }, texts, { signal });
  const named = scores.map((score, i) => ({ text: texts[i] as string, ...score }));
  if (args.flag("json")) {
    printJson({ continuations: named });
    return;
  }
  const rows = named
    .toSorted((a, b) => b.logprob - a.logprob)
    .map(({ text, logprob, meanLogprob }) => [logprob.toFixed(4), meanLogprob.toFixed(4), JSON.stringify(text)]);
  print(columns([["ln p", "a token", "continuation"], ...rows], [0, 1]));
}

function fileOf(args: Arguments): string {
  const file = args.text("file");
  if (file !== undefined) return file;
  throw new IroriError("bad-input", {
    what: "irori score: --file is missing",
    next: "name a text file, or - for stdin",
  });
}
