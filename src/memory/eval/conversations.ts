// Long conversations with questions about them, as LongMemEval and LoCoMo publish them: read, told to a memory session by
// session, asked; answers compared with those of the data, by type. It does not know files.
import { z } from "zod";
import { IroriError, seededRandom } from "../../base/mod.ts";
import { termsOf } from "../../text/mod.ts";
import type { Embedder } from "../embedder.ts";
import { idMaker } from "../ids.ts";
import { openInMemory } from "../in-memory/store.ts";
import { Memory } from "../memory.ts";
import type { Told } from "../remember.ts";
import type { Writer } from "../writer.ts";
import { type Experiment, table } from "./experiment.ts";
import { median } from "./measures.ts";

interface Turn {
  readonly id: string;
  readonly speaker: string;
  readonly text: string;
}
interface Session {
  readonly id: string;
  readonly at: number;
  readonly turns: readonly Turn[];
}
export interface ConversationQuestion {
  readonly id: string;
  readonly type: string;
  readonly question: string;
  readonly answer: string;
  readonly at: number;
  /** Sessions or turns that hold the answer, in their order: of an updated fact, the last holds. */
  readonly evidence: readonly string[];
  /** The data's answer is that nothing was said of it. */
  readonly isUnanswerable: boolean;
}
export interface Conversation {
  readonly id: string;
  readonly sessions: readonly Session[];
  readonly questions: readonly ConversationQuestion[];
}

const message = z.looseObject({ role: z.string(), content: z.string() });
const longMemEval = z.array(
  z.looseObject({
    question_id: z.string(),
    question_type: z.string(),
    question: z.string(),
    answer: z.union([z.string(), z.number()]).transform(String),
    question_date: z.string(),
    haystack_dates: z.array(z.string()),
    haystack_session_ids: z.array(z.string()),
    haystack_sessions: z.array(z.array(message)),
    answer_session_ids: z.array(z.string()),
  }),
);
const turn = z.looseObject({ speaker: z.string(), dia_id: z.string(), text: z.string() });
const locomo = z.array(
  z.looseObject({
    sample_id: z.string(),
    conversation: z.record(z.string(), z.unknown()),
    qa: z.array(
      z.looseObject({
        question: z.string(),
        answer: z.union([z.string(), z.number()]).transform(String).optional(),
        adversarial_answer: z.unknown().optional(),
        evidence: z.array(z.string()).default([]),
        category: z.number(),
      }),
    ),
  }),
);

/** LoCoMo's numbers for its categories. */
const CATEGORIES: Readonly<Record<number, string>> = {
  1: "multi-hop",
  2: "temporal",
  3: "open-domain",
  4: "single-hop",
  5: "adversarial",
};

/** Either of the two, told by its fields. Throws "bad-file". */
export function readConversations(text: string): Conversation[] {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new IroriError("bad-file", {
      what: "conversations",
      got: (error as Error).message,
      wanted: "JSON",
      cause: error,
    });
  }
  const isLocomo = Array.isArray(data) && data.length > 0 && "conversation" in Object(data[0]);
  return isLocomo ? fromLocomo(checked(locomo, data)) : fromLongMemEval(checked(longMemEval, data));
}

function checked<T>(shape: z.ZodType<T>, data: unknown): T {
  const parsed = shape.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new IroriError("bad-file", {
    what: `conversations: ${issue?.path.join(".") || "the whole"}`,
    got: issue?.message,
    wanted: "the published JSON of LongMemEval or LoCoMo",
  });
}

function fromLongMemEval(data: z.infer<typeof longMemEval>): Conversation[] {
  return data.map((one) => ({
    id: one.question_id,
    sessions: one.haystack_sessions.map((messages, i) => {
      const id = one.haystack_session_ids[i] ?? `session ${i}`;
      const turns = messages.map(({ role, content }, n) => ({ id: `${id}:${n}`, speaker: role, text: content }));
      return { id, at: moment(one.haystack_dates[i] ?? ""), turns };
    }),
    questions: [
      {
        id: one.question_id,
        type: one.question_id.endsWith("_abs") ? "abstention" : one.question_type,
        ...{ question: one.question, answer: one.answer, at: moment(one.question_date) },
        evidence: one.answer_session_ids.toSorted(
          (a, b) => one.haystack_session_ids.indexOf(a) - one.haystack_session_ids.indexOf(b),
        ),
        isUnanswerable: one.question_id.endsWith("_abs"),
      },
    ],
  }));
}

function fromLocomo(data: z.infer<typeof locomo>): Conversation[] {
  return data.map(({ sample_id, conversation, qa }) => {
    const numbers = Object.keys(conversation)
      .flatMap((key) => /^session_(\d+)$/.exec(key)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
    const sessions = numbers.map((number) => ({
      id: `session_${number}`,
      at: moment(String(conversation[`session_${number}_date_time`] ?? "")),
      turns: checked(z.array(turn), conversation[`session_${number}`]).map(({ dia_id, speaker, text }) => ({
        id: dia_id,
        speaker,
        text,
      })),
    }));
    const last = sessions.at(-1)?.at ?? 0;
    return {
      id: sample_id,
      sessions,
      questions: qa.map(({ question, answer, evidence, category }, i) => ({
        id: `${sample_id}:${i}`,
        type: CATEGORIES[category] ?? `category ${category}`,
        ...{ question, answer: answer ?? "", at: last + 86_400_000, evidence },
        isUnanswerable: category === 5,
      })),
    };
  });
}

/** "2023/05/20 (Sat) 02:21" and "1:56 pm on 8 May, 2023". */
function moment(text: string): number {
  const plain = text.replace(/\([^)]*\)/g, "").replace(/^(.*) on (.*)$/, "$2 $1");
  const found = Date.parse(`${plain.replaceAll(",", "")} UTC`);
  return Number.isNaN(found) ? 0 : found;
}

interface Outcome {
  readonly type: string;
  readonly isRight: boolean;
  readonly isAbstained: boolean;
  readonly isUnanswerable: boolean;
  /** Share of the evidence among what was recalled. */
  readonly evidence: number;
  /** What was cited holds an earlier part of the evidence and not the last. */
  readonly isStale: boolean;
  readonly ms: number;
}

export interface ConversationOptions {
  readonly conversations: readonly Conversation[];
  readonly embedder: Embedder;
  readonly writer?: Writer | undefined;
  readonly now: () => number;
}

/** Terms of the true answer that must stand in the given one. */
const RIGHT = 0.7;

export function conversations(
  options: ConversationOptions,
): Experiment<Conversation, { readonly outcomes: readonly Outcome[] }> {
  const { embedder, writer, now } = options;
  return {
    name: `Conversations (${embedder.id}, ${writer?.id ?? "extractive"})`,
    config: {
      ...{
        embedder: embedder.id,
        writer: writer?.id ?? "extractive",
        conversations: options.conversations.length,
        right: RIGHT,
      },
    },
    items: () => options.conversations,
    async run({ sessions, questions }, signal) {
      const random = seededRandom(1);
      let clock = 0;
      await using store = openInMemory({ embedder, newId: idMaker(random) });
      const memory = new Memory({ store, embedder, writer, random, now: () => clock });
      for (const { id, at, turns } of sessions) {
        clock = at;
        const told = turns
          .filter(({ text }) => text.trim() !== "")
          .map(
            (one): Told => ({
              text: `${one.speaker}: ${one.text}`,
              metadata: { session: id, turn: one.id },
              saidAt: at,
            }),
          );
        if (told.length > 0) await memory.remember(told, { insight: false, repeats: "keep", signal });
      }
      const outcomes: Outcome[] = [];
      for (const question of questions) {
        clock = Math.max(question.at, clock);
        outcomes.push(await askOne(memory, question, now, signal));
      }
      return { outcomes };
    },
    report,
  };
}

async function askOne(
  memory: Memory,
  { type, question, answer, evidence, isUnanswerable }: ConversationQuestion,
  now: () => number,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const start = now();
  const given = await memory.ask(question, { signal, isLogged: false });
  const ms = now() - start;
  const placeOf = new Map(given.recall.recalled.map(({ episode }) => [episode.id, episode.metadata]));
  const holds = (id: string, wanted: string) => {
    const place = placeOf.get(id);
    return place?.session === wanted || place?.turn === wanted;
  };
  const cited = given.sentences.flatMap(({ citations }) => citations.map(({ id }) => id));
  const cites = (wanted: string | undefined) => wanted !== undefined && cited.some((id) => holds(id, wanted));
  const got = evidence.filter((wanted) => [...placeOf.keys()].some((id) => holds(id, wanted)));
  const terms = [...new Set(termsOf(answer))];
  const own = new Set(termsOf(given.text));
  const isSaid = terms.length > 0 && terms.filter((term) => own.has(term)).length / terms.length >= RIGHT;
  return {
    ...{ type, isUnanswerable, isAbstained: given.isAbstained, ms },
    isRight: isUnanswerable ? given.isAbstained : !given.isAbstained && isSaid,
    evidence: evidence.length === 0 ? 1 : got.length / evidence.length,
    isStale: evidence.length > 1 && evidence.slice(0, -1).some(cites) && !cites(evidence.at(-1)),
  };
}

function report(results: readonly { readonly outcomes: readonly Outcome[] }[]): string {
  const all = results.flatMap(({ outcomes }) => outcomes);
  const share = (list: readonly Outcome[], is: (one: Outcome) => boolean) => list.filter(is).length / list.length;
  const row = (name: string, own: readonly Outcome[]) => [
    ...[name, own.length, share(own, ({ isRight }) => isRight)],
    own.reduce((sum, { evidence }) => sum + evidence, 0) / own.length,
    ...[share(own, ({ isStale }) => isStale), share(own, ({ isAbstained }) => isAbstained)],
    median(own.map(({ ms }) => ms)).toFixed(1),
  ];
  const types = [...new Set(all.map(({ type }) => type))].sort();
  return [
    `Right: ${RIGHT * 100} % of the true answer's terms stand in the given one, or an abstention where nothing was said. No model judges.`,
    table(
      ["type", "questions", "right", "evidence recalled", "stale", "abstained", "p50 ms"],
      [
        ...types.map((type) =>
          row(
            type,
            all.filter((one) => one.type === type),
          ),
        ),
        row("all", all),
      ],
    ),
  ].join("\n\n");
}
