// Questions that were asked, and what their answers rested on: for whoever looks back, never as facts.
// It does not know how they were answered.
import type { Page } from "./data-store.ts";
import type { Scope } from "./episode.ts";
import type { Parts } from "./parts.ts";

export const QUESTIONS = "question";

export interface Question extends Scope {
  readonly id: string;
  readonly at: number;
  readonly text: string;
  /** Episodes of its answer; none where it abstained. */
  readonly cited: readonly string[];
  /** Whether the question itself would restructure what is known. */
  readonly hasFired: boolean;
}

const TAGS = { fired: "fired", other: "other" } as const;

export async function noteQuestion(
  { store, namespace, newId, now }: Parts,
  question: Omit<Question, "id" | "at">,
): Promise<void> {
  const { text, cited, hasFired, user, agent, thread } = question;
  const body = { text, cited, hasFired, user: user ?? null, agent: agent ?? null, thread: thread ?? null };
  await store.putRecord(namespace, QUESTIONS, {
    key: newId(now()),
    tag: hasFired ? TAGS.fired : TAGS.other,
    body,
    recordedAt: now(),
  });
}

/** Newest first. @param hasFired only those that would, or would not, have fired */
export async function listQuestions(
  { store, namespace }: Parts,
  {
    limit,
    after,
    hasFired,
  }: { readonly limit: number; readonly after?: string | undefined; readonly hasFired?: boolean | undefined },
): Promise<Page<Question>> {
  const tag = hasFired === undefined ? undefined : hasFired ? TAGS.fired : TAGS.other;
  const { items, next } = await store.listRecords(namespace, QUESTIONS, { limit, after, tag, order: "newest" });
  const questions = items.map(({ key, recordedAt, body }): Question => {
    const { user, agent, thread, ...rest } = body as unknown as Omit<
      Question,
      "id" | "at" | "user" | "agent" | "thread"
    > &
      Record<string, string | null>;
    return {
      id: key,
      at: recordedAt,
      ...rest,
      user: user ?? undefined,
      agent: agent ?? undefined,
      thread: thread ?? undefined,
    } as Question;
  });
  return { items: questions, next };
}
