// POST /v1/completions: texts and token ids continued as they stand, one or several, whole or streamed.
// It does not know chats.
import type { AnswerEvent, AnswerRequest } from "../answers.ts";
import type { EndEvent } from "../choices.ts";
import type { HostToken } from "../host.ts";
import { merged } from "../merged.ts";
import { HttpError } from "./errors.ts";
import { checkInside } from "./inside-fields.ts";
import { aboutOf, finishReason, finite, usageOf } from "./openai-answer.ts";
import { commonOf } from "./openai-request.ts";
import { type CompletionBody, completionSchema } from "./openai-schema.ts";
import { bodyOf, type Ctx, leavingOf, modelOf, type Serving, streamOf, unknownFields } from "./serving.ts";

export async function postCompletions(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, completionSchema);
  const model = await modelOf(serving, body.model);
  await checkInside(serving.host, body);
  const requests = requestsOf(serving, c, { body, model });
  const warnings = unknownFields(body, completionSchema).map((key) => `${key} is not known here and was ignored`);
  const head = {
    ...{ id: `cmpl-${serving.unique()}`, object: "text_completion" },
    ...{ created: Math.floor(serving.clock() / 1000), model },
  };
  const leaving = leavingOf(c);
  const events = merged(
    requests.map((request) => serving.answers.answer(request, leaving.signal)),
    leaving,
  );
  const setting = { body, head, warnings, prompts: promptsOf(body) };
  if (body.stream) return streamOf(serving, c, { events, leaving, chunks: (from) => chunksOf(from, setting) });
  const all = await wholeOf(events);
  const ends = all.map(({ end }) => end);
  return c.json({
    ...head,
    choices: all.map(({ tokens, end }, index) => ({
      index,
      text: echoOf(setting, index) + end.text,
      logprobs: chancesOf(tokens),
      finish_reason: finishReason(end),
    })),
    usage: usageOf(ends, setting.prompts.length),
    irori: aboutOf(ends, warnings),
  });
}

interface Setting {
  readonly body: CompletionBody;
  readonly head: object;
  readonly warnings: readonly string[];
  readonly prompts: readonly (string | readonly number[])[];
}

function promptsOf({ prompt }: CompletionBody): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as (string | number[])[]);
}

function requestsOf(
  serving: Serving,
  c: Ctx,
  { body, model }: { body: CompletionBody; model: string },
): AnswerRequest[] {
  const prompts = promptsOf(body);
  const n = body.n ?? 1;
  const { choices } = serving.limits;
  if (prompts.length * n > choices)
    throw new HttpError(
      400,
      "bad-input",
      { what: "prompts times n", got: prompts.length * n, wanted: `at most ${choices}` },
      "n",
    );
  if ((body.best_of ?? n) !== n)
    throw new HttpError(
      400,
      "unsupported",
      { what: "best_of", got: body.best_of ?? 0, wanted: `${n}, as n` },
      "best_of",
    );
  if (body.echo && prompts.some((prompt) => typeof prompt !== "string"))
    throw new HttpError(400, "unsupported", { what: "echo", wanted: "prompts that are texts" }, "echo");
  const common = commonOf(serving, c, body);
  return prompts.flatMap((prompt) =>
    Array.from({ length: n }, (_, i) => ({
      ...common,
      model,
      seed: common.seed + i,
      prompt: typeof prompt === "string" ? { text: prompt } : { ids: prompt },
      logprobs: body.logprobs ?? undefined,
    })),
  );
}

const echoOf = ({ body, prompts }: Setting, index: number): string =>
  body.echo ? String(prompts[Math.floor(index / (body.n ?? 1))]) : "";

async function wholeOf(events: AsyncGenerator<readonly [AnswerEvent, number], void>) {
  const all: { tokens: HostToken[]; end: EndEvent }[] = [];
  const tokens = new Map<number, HostToken[]>();
  for await (const [event, index] of events) {
    if (event.type === "token") tokens.set(index, [...(tokens.get(index) ?? []), event]);
    if (event.type === "end") all[index] = { tokens: tokens.get(index) ?? [], end: event };
  }
  return all;
}

/** Log-probabilities in the words of the old API: four lists. */
function chancesOf(tokens: readonly HostToken[]) {
  const chances = tokens.flatMap(({ chance }) => (chance ? [chance] : []));
  if (chances.length === 0) return null;
  let at = 0;
  return {
    tokens: chances.map(({ text }) => text),
    token_logprobs: chances.map(({ logprob }) => finite(logprob)),
    top_logprobs: chances.map(({ top }) => Object.fromEntries(top.map(({ text, logprob }) => [text, finite(logprob)]))),
    text_offset: chances.map(({ text }) => {
      at += text.length;
      return at - text.length;
    }),
  };
}

async function* chunksOf(
  events: AsyncGenerator<readonly [AnswerEvent, number], void>,
  setting: Setting,
): AsyncGenerator<unknown, void> {
  const { body, head, warnings, prompts } = setting;
  const isUsageWanted = body.stream_options?.include_usage === true;
  const chunk = (choices: readonly object[], more: object = {}) => ({
    ...{ ...head, choices, ...(isUsageWanted && { usage: null }), ...more },
  });
  const wanted = prompts.length * (body.n ?? 1);
  const ends: EndEvent[] = [];
  const told = new Map<number, number>();
  const say = (index: number, text: string, more: object = {}) => ({
    index,
    text,
    logprobs: null,
    finish_reason: null,
    ...more,
  });
  for await (const [event, index] of events) {
    if (event.type === "started" && body.echo) yield chunk([say(index, echoOf(setting, index))]);
    else if (event.type === "token") {
      told.set(index, (told.get(index) ?? 0) + event.text.length);
      if (event.text !== "" || event.chance) yield chunk([say(index, event.text, { logprobs: chancesOf([event]) })]);
    } else if (event.type === "end") {
      ends.push(event);
      const about = ends.length === wanted ? { irori: aboutOf(ends, warnings) } : {};
      const rest = event.text.slice(told.get(index) ?? 0);
      yield chunk([say(index, rest, { finish_reason: finishReason(event) })], about);
    }
  }
  if (isUsageWanted) yield chunk([], { usage: usageOf(ends, prompts.length) });
  yield "[DONE]";
}
