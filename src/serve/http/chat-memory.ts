// A chat with a memory: what is relevant is recalled into the prompt as quoted data, and the turn is remembered.
// It does not know how anything is found, nor APIs.
import { DATA_ONLY, type Memory, quoted, type Recalled, type Remembered } from "../../memory/mod.ts";
import type { ChatMessage } from "../../text/mod.ts";
import type { ChatMemory } from "./memory-fields.ts";
import { chatMemorySchema, episodeOf, memoryOf } from "./memory-fields.ts";
import { type Ctx, leavingOf, type Serving } from "./serving.ts";

/** Characters of recalled texts for each token of the model's context: at most about a fourth of it. */
const CHARACTERS_A_TOKEN = 0.5;

export interface Recollection {
  /** With what is recalled in front of the last thing that the user said: what is before it stays as it was, and is not read again. */
  readonly messages: readonly ChatMessage[];
  /** Remembers the turn; tells of all that the memory did. */
  readonly onAnswered: (text: string) => Promise<object>;
}

/** The memory that a request names, in its body or by `x-irori-memory`; undefined where it names none. */
export async function recollected(
  serving: Serving,
  c: Ctx,
  asked: { readonly model: string; readonly memory: ChatMemory | null | undefined },
  messages: readonly ChatMessage[],
): Promise<Recollection | undefined> {
  const header = c.req.header("x-irori-memory");
  const wanted = asked.memory ?? (header === undefined ? undefined : chatMemorySchema.parse({ namespace: header }));
  if (!wanted) return undefined;
  const memory = await memoryOf(serving, c, wanted.namespace);
  const at = messages.findLastIndex(({ role }) => role === "user");
  const said = messages[at]?.content;
  const question = typeof said === "string" && said.trim() !== "" ? said : undefined;
  const found =
    question === undefined || wanted.recall === false
      ? []
      : await relevant(serving, c, { memory, wanted, question, messages, model: asked.model });
  const told = messages.map((message, i) =>
    i === at && found.length > 0 ? { ...message, content: `${textOf(found)}\n\n${question}` } : message,
  );
  const isFresh = at === messages.length - 1; // else a function's output is answered: the question was remembered before
  return { messages: told, onAnswered: (answer) => turn(serving, c, isFresh ? question : undefined, answer) };

  async function turn({ onStreamError }: Serving, ctx: Ctx, user: string | undefined, answer: string) {
    const about = {
      namespace: memory.namespace,
      recalled: found.map(({ episode, similarity, score }, i) => ({
        number: i + 1,
        similarity,
        score,
        episode: episodeOf(episode),
      })),
      cited: cited(answer, found.length),
    };
    if (wanted?.remember === false) return { ...about, remembered: [] };
    const { agent, thread, insight = false } = wanted ?? {};
    const lines = [
      ...(user === undefined ? [] : [{ role: "user", content: user }]),
      { role: "assistant", content: answer },
    ];
    try {
      const spoken = lines.filter(({ content }) => content.trim() !== "");
      const kept =
        spoken.length === 0 ? [] : await memory.rememberChat(spoken, { user: wanted?.user, agent, thread, insight });
      return { ...about, remembered: kept.map(keptOf) };
    } catch (error) {
      // the answer is there: it is not lost for it
      onStreamError(ctx.get("requestId"), error);
      const reason = error instanceof Error ? error.message : String(error);
      return { ...about, remembered: [], error: `the turn was not remembered: ${reason}` };
    }
  }
}

interface Asked {
  readonly memory: Memory;
  readonly wanted: ChatMemory;
  readonly question: string;
  readonly messages: readonly ChatMessage[];
  readonly model: string;
}

/** What has to do with the question, does not stand in the conversation already, and leaves room for it. */
async function relevant({ residents }: Serving, c: Ctx, { memory, wanted, question, messages, model }: Asked) {
  const { signal } = leavingOf(c);
  const { user, agent, thread, count } = wanted;
  const all = await memory.relevant(question, { user, agent, thread, count, signal });
  using resident = await residents.use(model, signal);
  let room = resident.facts.context * CHARACTERS_A_TOKEN;
  const found: Recalled[] = [];
  for (const one of all) {
    const { text } = one.episode;
    if (messages.some(({ content }) => typeof content === "string" && content.includes(text))) continue;
    if (text.length > room) continue;
    room -= text.length;
    found.push(one);
  }
  return found;
}

/** The prompt's own template makes text of it: nothing in it can become a control token. */
const textOf = (found: readonly Recalled[]): string => {
  const memories = quoted(found.map(({ episode }, i) => ({ number: i + 1, text: episode.text })));
  return `Memories of earlier conversations. ${DATA_ONLY} Where one helps, put its number behind what you take from it, like [1].\n${memories}`;
};

/** Numbers that the answer names. */
const cited = (answer: string, most: number): number[] =>
  [...new Set([...answer.matchAll(/\[(\d+)\]/g)].map(([, number]) => Number(number)))].filter(
    (number) => number >= 1 && number <= most,
  );

const keptOf = ({ id, as, spike, contradicts }: Remembered) => ({
  ...{ id, as, ...(contradicts && { contradicts }), ...(spike && { insight: spike.id }) },
});
