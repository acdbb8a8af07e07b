// A model behind lanes as whoever writes summaries, and finished answers in the file of long work. It does not know summaries.
import { cancelled } from "../../base/mod.ts";
import type { ChatMessage } from "../../text/mod.ts";
import type { Answers } from "../answers.ts";
import type { Host, HostPrompt } from "../host.ts";
import type { Lane } from "../lane-policy.ts";
import type { Residents } from "../residents.ts";
import type { WorkStore } from "../work/work-store.ts";
import type { Kept, SummaryWriter, WriterAsk, Written } from "./asking.ts";

export interface AnswersWriterOptions {
  readonly host: Host;
  readonly residents: Residents;
  readonly answers: Answers;
  readonly model: string;
  readonly lane: Lane;
  readonly caller: string;
  readonly requestId?: string | undefined;
  /** Tokens of prompt and answer at most, where the model's context is longer. */
  readonly context?: number | undefined;
}

/** Keeps the model open until it is disposed of. */
export async function answersWriter(
  options: AnswersWriterOptions,
  signal?: AbortSignal,
): Promise<SummaryWriter & Disposable> {
  const { host, residents, answers, model, lane, caller, requestId } = options;
  const resident = await residents.use(model, signal);
  const { facts } = resident;
  const stored = (await host.stored()).find(({ name }) => name === model);
  const promptOf = (messages: readonly ChatMessage[]): HostPrompt =>
    facts.chatTemplate === undefined ? { text: messages.map(({ content }) => content).join("\n\n") } : { messages };

  async function* write(
    { messages, schema, longestString, ...ask }: WriterAsk,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Written, void> {
    const request = {
      ...ask,
      ...{
        model,
        lane,
        caller,
        requestId,
        prompt: promptOf(messages),
        format: { kind: "schema" as const, schema, longestString },
      },
    };
    for await (const event of answers.answer(request, signal))
      if (event.type === "token" && event.text !== "") yield { text: event.text };
      else if (event.type === "end") {
        if (signal?.aborted) throw cancelled("the summary", signal);
        yield { text: "", isCut: event.stop === "length", promptTokens: event.promptTokens, tokens: event.ids.length };
      }
  }
  return {
    model,
    identity: stored?.sha256 ?? "",
    context: Math.min(facts.context, options.context ?? Number.POSITIVE_INFINITY),
    count: async (text) => (text.trim() === "" ? 0 : (await host.encode(model, { text })).ids.length),
    countPrompt: async (messages) => (await host.encode(model, promptOf(messages))).ids.length,
    write,
    [Symbol.dispose]: () => resident[Symbol.dispose](),
  };
}

export const keptIn = (store: WorkStore, clock: () => number): Kept => ({
  get: (key) => store.part(key, clock()),
  put: (key, value) => store.keepPart(key, value, clock()),
});
