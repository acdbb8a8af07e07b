// A chat's answers as parts, one or several at once: what all chat routes are made of.
// It does not know APIs.
import type { AnswerEvent, AnswerRequest, Answers } from "./answers.ts";
import { type ChatPart, ChatParts } from "./chat-parts.ts";
import type { HostToken } from "./host.ts";
import { merged } from "./merged.ts";

export type EndEvent = Extract<AnswerEvent, { readonly type: "end" }>;

/** How an answer ended, with how many of its tokens were thinking, the markers that begin and end it included. */
export type DoneEvent = EndEvent & { readonly reasoningTokens: number; readonly memory?: object };

/** A chat as it is asked of the answers, whatever API it came by. */
export interface ChatAsk {
  readonly request: AnswerRequest;
  /** Names of the functions that the model may call. */
  readonly tools: readonly string[];
  /** false: only the first call counts. */
  readonly isParallel: boolean;
  readonly choices: number;
  /** What of the request was not taken as it stands. */
  readonly warnings: readonly string[];
  /** Called with the first choice's whole text; what it gives stands in the end, as `memory`. */
  readonly onAnswered?: ((text: string) => Promise<object>) | undefined;
}

export type ChoiceEvent =
  | Exclude<AnswerEvent, EndEvent | HostToken>
  | { readonly type: "parts"; readonly parts: readonly ChatPart[]; readonly chance?: HostToken["chance"] }
  | { readonly type: "done"; readonly end: DoneEvent; readonly calls: number };

/** Choices by their index, as they come; the seed of each is the request's and its index. Leaving ends them all. */
export async function* choicesOf(
  answers: Answers,
  ask: ChatAsk,
  leaving: AbortController,
): AsyncGenerator<readonly [ChoiceEvent, number], void> {
  const { request, choices } = ask;
  const streams = Array.from({ length: choices }, (_, i) => {
    const events = answers.answer({ ...request, seed: request.seed + i }, leaving.signal);
    return choiceOf(events, i === 0 ? ask : { ...ask, onAnswered: undefined });
  });
  yield* merged(streams, leaving);
}

async function* choiceOf(events: AsyncGenerator<AnswerEvent, void>, ask: ChatAsk): AsyncGenerator<ChoiceEvent, void> {
  const { request, tools, isParallel, onAnswered } = ask;
  let text = "";
  const said = (all: readonly ChatPart[]) => {
    for (const part of all) if (part.kind === "text") text += part.text;
    return all;
  };
  let parts: ChatParts | undefined;
  let told = 0;
  let [reasoningTokens, undecided] = [0, 0];
  const kept = (all: readonly ChatPart[]) =>
    isParallel ? all : all.filter((part) => !("index" in part) || part.index === 0);
  for await (const event of events) {
    if (event.type === "started") {
      parts = new ChatParts(event.facts, event.tail, { tools, isFormatted: request.format !== undefined });
      yield event;
    } else if (event.type === "token") {
      told += event.text.length;
      const before = parts?.stage;
      const fresh = said(kept(parts?.push((event.control ?? "") + event.text) ?? []));
      // a marker may take several tokens: they are known for it by its last
      if (parts?.stage === "start") undecided++;
      else if (before === "thinking" || parts?.stage === "thinking") reasoningTokens += 1 + undecided;
      if (parts?.stage !== "start") undecided = 0;
      if (fresh.length > 0 || event.chance)
        yield { type: "parts", parts: fresh, ...(event.chance && { chance: event.chance }) };
    } else if (event.type === "end") {
      // the end brings what was held back: it might have become a stop text
      const rest = said(kept([...(parts?.push(event.text.slice(told)) ?? []), ...(parts?.end() ?? [])]));
      if (rest.length > 0) yield { type: "parts", parts: rest };
      const calls = parts?.calls ?? 0;
      const memory = event.stop === "cancelled" ? undefined : await onAnswered?.(text);
      const end = { ...event, reasoningTokens, ...(memory && { memory }) };
      yield { type: "done", end, calls: isParallel ? calls : Math.min(1, calls) };
    } else yield event;
  }
}

/** A choice that is whole. */
export interface Choice {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
  readonly chances: readonly NonNullable<HostToken["chance"]>[];
  readonly end: DoneEvent;
}

/** All choices, when all are whole. */
export async function wholeChoices(events: AsyncGenerator<readonly [ChoiceEvent, number], void>): Promise<Choice[]> {
  const all = new Map<number, Open>();
  for await (const [event, index] of events) {
    const open = all.get(index) ?? { text: "", reasoning: "", calls: [], chances: [], end: undefined };
    all.set(index, open);
    if (event.type === "done") open.end = event.end;
    if (event.type !== "parts") continue;
    if (event.chance) open.chances.push(event.chance);
    for (const part of event.parts) take(open, part);
  }
  return [...all].sort(([a], [b]) => a - b).map(([, { end, ...open }]) => ({ ...open, end: end as DoneEvent }));
}

interface Open {
  text: string;
  reasoning: string;
  readonly calls: { name: string; arguments: string }[];
  readonly chances: NonNullable<HostToken["chance"]>[];
  end: DoneEvent | undefined;
}

function take(open: Open, part: ChatPart): void {
  if (part.kind === "text") open.text += part.text;
  else if (part.kind === "reasoning") open.reasoning += part.text;
  else if (part.kind === "call") open.calls[part.index] = { name: part.name, arguments: "" };
  else {
    const call = open.calls[part.index];
    if (call) call.arguments += part.text;
  }
}
