// For good: what is forgotten leaves nothing in the store, not in rows, indexes, words of the Knowledge, questions that were
// asked, or in free pages of the file. It does not know backups; the next one does not have it.
import { IroriError } from "../base/mod.ts";
import { termsOf } from "../text/mod.ts";
import { everyEpisode } from "./data-store.ts";
import type { Scope } from "./episode.ts";
import type { Parts } from "./parts.ts";
import { QUESTIONS } from "./questions.ts";

export interface ForgetWhat extends Scope {
  readonly ids?: readonly string[] | undefined;
  /** Everything whose text, source or metadata mentions this: a person, a project. */
  readonly about?: string | undefined;
  /** Everything from this source. */
  readonly uri?: string | undefined;
}

export interface Forgotten {
  readonly episodes: number;
  readonly questions: number;
  readonly ids: readonly string[];
}

const BATCH = 500;

/** Throws "bad-input" where nothing is named: nobody forgets everything by an empty wish. */
export async function forget(parts: Parts, what: ForgetWhat, { dryRun = false } = {}): Promise<Forgotten> {
  const { ids, about, uri, user, agent, thread } = what;
  if ([ids, about, uri, user, agent, thread].every((one) => one === undefined) || about?.trim() === "")
    throw new IroriError("bad-input", {
      what: "what to forget",
      got: "nothing named",
      wanted: "ids, about, uri, user, agent or thread",
    });
  const found = ids ?? (await matching(parts, what));
  const questions = await questionsAbout(parts, what, found);
  if (dryRun) return { episodes: found.length, questions: questions.length, ids: found };
  const { store, namespace } = parts;
  let episodes = 0;
  for (let i = 0; i < found.length; i += BATCH)
    episodes += await store.deleteEpisodes(namespace, found.slice(i, i + BATCH));
  for (const key of questions) await store.deleteRecord(namespace, QUESTIONS, key);
  await store.scrub();
  return { episodes, questions: questions.length, ids: found };
}

/** Of all times: also what was corrected or has expired. */
async function matching(
  { store, namespace }: Parts,
  { about, uri, user, agent, thread }: ForgetWhat,
): Promise<string[]> {
  const mentions = about === undefined ? () => true : mentionOf(about);
  const ids: string[] = [];
  for await (const episode of everyEpisode(store, namespace, { filter: { uri, user, agent, thread } }))
    if (
      mentions(
        `${episode.text}\n${JSON.stringify([episode.source ?? null, episode.metadata, episode.user ?? null, episode.key ?? null])}`,
      )
    )
      ids.push(episode.id);
  return ids;
}

async function questionsAbout(
  { store, namespace }: Parts,
  { about, user }: ForgetWhat,
  ids: readonly string[],
): Promise<string[]> {
  const mentions = about === undefined ? () => false : mentionOf(about);
  const gone = new Set(ids);
  const keys: string[] = [];
  let after: string | undefined;
  do {
    const page = await store.listRecords(namespace, QUESTIONS, { limit: BATCH, after });
    for (const { key, body } of page.items) {
      const question = body as { text: string; user?: string; cited: string[] };
      if (
        mentions(question.text) ||
        (user !== undefined && question.user === user) ||
        question.cited.some((id) => gone.has(id))
      )
        keys.push(key);
    }
    after = page.next;
  } while (after !== undefined);
  return keys;
}

/** All words of the name, or the name as it is written, whatever the case and width of its letters. */
function mentionOf(name: string): (text: string) => boolean {
  const plain = name.normalize("NFKC").toLowerCase().trim();
  const words = [...new Set(termsOf(name))];
  return (text) => {
    if (text.normalize("NFKC").toLowerCase().includes(plain)) return true;
    const own = new Set(termsOf(text));
    return words.length > 1 && words.every((word) => own.has(word));
  };
}
