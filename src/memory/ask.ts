// A question answered from what is remembered: recall, a Writer's answer, and for each sentence the episodes behind it; a
// sentence that nothing supports is left out, and an answer without sentences is none. The answer itself is not remembered.
import { termsOf } from "../text/mod.ts";
import type { Json } from "./episode.ts";
import { extractiveWriter } from "./extractive.ts";
import type { Parts } from "./parts.ts";
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
}

/** Episodes that a Writer is shown. */
const MOST_EVIDENCE = 6;
/** Share of a sentence's telling terms that stand in one episode, from which that episode supports it. */
const SUPPORT = 0.6;
/** Share of a question's telling terms, the rarer the weightier, from which an episode is about it although unlike. */
const COVERAGE = 0.5;

const ABSTENTION = "I do not know: nothing that I remember answers this.";

export async function ask(parts: Parts, question: string, options: RecallOptions = {}): Promise<MemoryAnswer> {
  const found = await recall(parts, question, options);
  const about = found.recalled.filter((one) => isAbout(parts, question, one)).slice(0, MOST_EVIDENCE);
  const contradictions = await contradictionsAmong(parts, about);
  const base = { question, recall: found, contradictions };
  if (about.length === 0)
    return { ...base, text: ABSTENTION, isAbstained: true, sentences: [], unsupported: [], writer: parts.writer.id };
  const evidence = about.map(
    ({ episode, similarity }, i): Evidence => ({ number: i + 1, text: episode.text, similarity }),
  );
  const cite = (number: number): Citation => ({ number, id: about[number - 1]?.episode.id as string });
  const { signal } = options;
  let { writer } = parts;
  let written = await writer.write({ kind: "answer", question, evidence }, { signal });
  let { sentences, unsupported } = supported(written, evidence);
  if (sentences.length === 0 && writer !== extractiveWriter) {
    // a small model that says nothing of use: the sentences themselves do
    const said = unsupported;
    writer = extractiveWriter;
    written = await writer.write({ kind: "answer", question, evidence });
    ({ sentences } = supported(written, evidence));
    unsupported = said;
  }
  if (sentences.length === 0)
    return { ...base, text: ABSTENTION, isAbstained: true, sentences: [], unsupported, writer: writer.id };
  const text = sentences.map(({ text, numbers }) => `${text} ${numbers.map((n) => `[${n}]`).join("")}`).join(" ");
  return {
    ...base,
    text,
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
