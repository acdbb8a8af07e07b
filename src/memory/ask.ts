// A question answered from what is remembered: recall, a Writer's answer, and for each sentence the episodes behind it; a
// sentence that nothing supports is left out, and an answer without sentences is none. The answer itself is not remembered.
import { IroriError } from "../base/mod.ts";
import { termsOf } from "../text/mod.ts";
import type { Json } from "./episode.ts";
import { extractiveWriter } from "./extractive.ts";
import { textsOf } from "./insight/spike.ts";
import { isJudged, type Judgement, judgeText, type NotJudged } from "./insight/trigger.ts";
import type { Parts } from "./parts.ts";
import { noteQuestion } from "./questions.ts";
import { type Recall, type Recalled, type RecallOptions, recall } from "./recall.ts";
import { sentencesOf } from "./sentences.ts";
import type { Evidence } from "./writer.ts";

export interface Citation {
  /** As it stands in the text: [1]. */
  readonly number: number;
  readonly id: string;
}

export interface AnswerSentence {
  readonly text: string;
  readonly citations: readonly Citation[];
}

export interface MemoryAnswer {
  readonly question: string;
  /** With citations; of an abstention the sentence that says so. */
  readonly text: string;
  /** Nothing that is remembered answers. */
  readonly isAbstained: boolean;
  readonly sentences: readonly AnswerSentence[];
  /** What the Writer said that no episode supports. */
  readonly unsupported: readonly string[];
  readonly recall: Recall;
  /** Pairs of recalled episodes that seem to contradict each other. */
  readonly contradictions: readonly { readonly ids: readonly [string, string]; readonly reason: string }[];
  readonly writer: string;
  readonly steps: readonly ThoughtStep[];
  /** What the question itself would do to what is known, or why that cannot be said. */
  readonly judgement: Judgement | NotJudged;
}

/** One cycle: what was looked for, how much of it was new, and how much of the question it covers. */
export interface ThoughtStep {
  readonly query: string;
  readonly found: number;
  readonly coverage: number;
}

export interface AskOptions extends RecallOptions {
  /** Cycles of thought at most. Default 3. */
  readonly cycles?: number | undefined;
  /** Whether the question is kept for whoever looks back. Default true. */
  readonly isLogged?: boolean | undefined;
}

const CYCLES = 3;
const MOST_CYCLES = 10;

/** Share of a sentence's telling terms that stand in one episode, from which that episode supports it. */
const SUPPORT = 0.6;
/** Share of a question's telling terms, the rarer the weightier, from which an episode is about it although unlike. */
const COVERAGE = 0.5;

const ABSTENTION = "I do not know: nothing that I remember answers this.";

export async function ask(parts: Parts, question: string, options: AskOptions = {}): Promise<MemoryAnswer> {
  const { cycles = CYCLES, isLogged = true, signal } = options;
  if (!(Number.isInteger(cycles) && cycles >= 1 && cycles <= MOST_CYCLES))
    throw new IroriError("bad-input", { what: "cycles of thought", got: cycles, wanted: `1 to ${MOST_CYCLES}` });
  const { found, about, steps } = await gather(parts, question, options, cycles);
  const judgement = await judgeText(parts, question, options);
  const base = { question, recall: found, contradictions: await contradictionsAmong(parts, about), steps, judgement };
  const answer = { ...base, ...(await answerFrom(parts, question, about, signal)) };
  const cited = [...new Set(answer.sentences.flatMap(({ citations }) => citations.map(({ id }) => id)))];
  const { user, agent, thread } = options;
  if (isLogged)
    await noteQuestion(parts, {
      text: question,
      cited,
      hasFired: isJudged(judgement) && judgement.hasFired,
      user,
      agent,
      thread,
    });
  return answer;
}

/** What of a Recall has to do with the query, best first: what an answer may rest on. Default count: the setting evidenceCount. */
export async function relevant(parts: Parts, query: string, options: RecallOptions = {}): Promise<Recalled[]> {
  const count = options.count ?? parts.settings.evidenceCount;
  const { recalled } = await recall(parts, query, { ...options, count: Math.max(count, parts.settings.recallCount) });
  return recalled.filter((one) => isAbout(parts, query, one)).slice(0, count);
}

interface Gathered {
  readonly found: Recall;
  readonly about: readonly Recalled[];
  readonly steps: readonly ThoughtStep[];
}

/**
 * Recall, and again with what the first finds are linked with, while the question's words are not all covered and something
 * new is found: bounded, every step told.
 */
async function gather(parts: Parts, question: string, options: AskOptions, cycles: number): Promise<Gathered> {
  const most = parts.settings.evidenceCount;
  const count = options.count ?? parts.settings.recallCount;
  const steps: ThoughtStep[] = [];
  let query = question;
  let found: Recall | undefined;
  let about: Recalled[] = [];
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const now = await recall(parts, query, { ...options, count });
    found ??= now;
    const known = new Set(about.map(({ episode }) => episode.id));
    const fresh = now.recalled.filter((one) => !known.has(one.episode.id) && isAbout(parts, query, one));
    // what the first question found stands first; a later one adds at most half as much
    about = about.concat(fresh.slice(0, cycle === 1 ? most : Math.ceil(most / 2)));
    const covered = coverage(question, about);
    steps.push({ query, found: fresh.length, coverage: covered });
    if (fresh.length === 0 || covered === 1) break;
    const more = await linkedWords(parts, about, query);
    if (more.length === 0) break;
    query = `${question} ${more.join(" ")}`;
  }
  return { found: found as Recall, about: about.slice(0, most + Math.ceil(most / 2)), steps };
}

/** Share of the question's telling terms that stand in one of these. */
function coverage(question: string, about: readonly Recalled[]): number {
  const wanted = [...new Set(termsOf(question))];
  const there = new Set(about.flatMap(({ episode }) => termsOf(episode.text)));
  return wanted.length === 0 ? 1 : wanted.filter((term) => there.has(term)).length / wanted.length;
}

/** Words and names that the finds are linked with and the query does not have. */
async function linkedWords(parts: Parts, about: readonly Recalled[], query: string): Promise<string[]> {
  const seeds = about.slice(0, 3).map(({ episode }) => `episode:${episode.id}` as const);
  const { nodes } = await parts.store.network(parts.namespace, seeds, { hops: 1, mostNodes: 24, kinds: ["mentions"] });
  const words = await textsOf(
    parts,
    nodes.map(({ ref }) => ref).filter((ref) => ref.startsWith("concept:")),
  );
  const known = new Set(termsOf(query));
  return [...words.values()].filter((word) => termsOf(word).some((term) => !known.has(term))).slice(0, 4);
}

/** The Writer's answer from this evidence, each sentence with what supports it. */
async function answerFrom(parts: Parts, question: string, about: readonly Recalled[], signal: AbortSignal | undefined) {
  const none = { text: ABSTENTION, isAbstained: true, sentences: [] };
  if (about.length === 0) return { ...none, unsupported: [], writer: parts.writer.id };
  const evidence = about.map(
    ({ episode, similarity }, i): Evidence => ({ number: i + 1, text: episode.text, similarity }),
  );
  const cite = (number: number): Citation => ({ number, id: about[number - 1]?.episode.id as string });
  let { writer } = parts;
  let { sentences, unsupported } = supported(
    await writer.write({ kind: "answer", question, evidence }, { signal }),
    evidence,
  );
  if (sentences.length === 0 && writer !== extractiveWriter) {
    writer = extractiveWriter; // a small model that says nothing of use: the sentences themselves do
    ({ sentences } = supported(await writer.write({ kind: "answer", question, evidence }), evidence));
  }
  if (sentences.length === 0) return { ...none, unsupported, writer: writer.id };
  return {
    text: sentences.map(({ text, numbers }) => `${text} ${numbers.map((n) => `[${n}]`).join("")}`).join(" "),
    isAbstained: false,
    sentences: sentences.map(({ text, numbers }) => ({ text, citations: numbers.map(cite) })),
    unsupported,
    writer: writer.id,
  };
}

/** Whether an episode has to do with the question: by its direction, or by enough of the question's own words. */
function isAbout({ embedder }: Parts, question: string, { episode, similarity }: Recalled): boolean {
  if (similarity >= embedder.related) return true;
  const wanted = new Set(termsOf(question));
  const own = new Set(termsOf(episode.text));
  return [...wanted].filter((term) => own.has(term)).length / wanted.size >= COVERAGE;
}

interface Supported {
  readonly sentences: readonly { readonly text: string; readonly numbers: readonly number[] }[];
  readonly unsupported: readonly string[];
}

/** Each sentence with the evidence it names where that supports it, or else with the evidence that does. */
export function supported(written: string, evidence: readonly Evidence[]): Supported {
  const sentences: { text: string; numbers: number[] }[] = [];
  const unsupported: string[] = [];
  // a citation after the full stop belongs to the sentence before it
  for (const { text: raw } of sentencesOf(written.replace(/([.!?。！？])\s*((?:\[\d+\]\s*)+)/g, " $2$1 "))) {
    const named = [...raw.matchAll(/\[(\d+)\]/g)].map(([, number]) => Number(number));
    const text = raw
      .replace(/\s*\[\d+\]/g, "")
      .replace(/\s+([.!?。！？])/g, "$1")
      .trim();
    if (text === "") continue;
    const supporting = evidence.filter((one) => supports(one.text, text)).map(({ number }) => number);
    const numbers = named.filter((number) => supporting.includes(number));
    if (supporting.length === 0) unsupported.push(text);
    else sentences.push({ text, numbers: numbers.length > 0 ? [...new Set(numbers)] : supporting.slice(0, 1) });
  }
  return { sentences, unsupported };
}

/** Enough of the sentence's telling terms, and all of its numbers, stand in the evidence. */
function supports(evidence: string, sentence: string): boolean {
  const known = new Set(termsOf(evidence));
  const terms = [...new Set(termsOf(sentence))];
  if (terms.some((term) => /\p{N}/u.test(term) && !known.has(term))) return false;
  return terms.length > 0 && terms.filter((term) => known.has(term)).length / terms.length >= SUPPORT;
}

async function contradictionsAmong(
  { store, namespace }: Parts,
  about: readonly Recalled[],
): Promise<MemoryAnswer["contradictions"]> {
  if (about.length < 2) return [];
  const seeds = about.map(({ episode }) => `episode:${episode.id}` as const);
  const { links } = await store.network(namespace, seeds, { hops: 0, mostNodes: seeds.length, kinds: ["contradicts"] });
  return links.map(({ source, target, attributes }) => ({
    ids: [source.slice("episode:".length), target.slice("episode:".length)] as const,
    reason: String((attributes?.reason as Json | undefined) ?? "they say different things"),
  }));
}
