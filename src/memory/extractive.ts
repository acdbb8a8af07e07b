// The Writer that needs no model: sentences of the evidence that share telling words with the question, each with its number.
// It says nothing that was not remembered. It does not know where the evidence comes from.
import { termsOf } from "../text/mod.ts";
import { sentencesOf } from "./sentences.ts";
import type { Evidence, Writer } from "./writer.ts";

const MOST_SENTENCES = 3;

/** Sentences, best first. `coverage` is the share of the question's terms, the rarer in the evidence the weightier. */
function bestSentences(
  question: string,
  evidence: readonly Evidence[],
): { readonly text: string; readonly number: number; readonly coverage: number }[] {
  const wanted = new Set(termsOf(question));
  const documents = evidence.map(({ text }) => new Set(termsOf(text)));
  const weightOf = (term: string) =>
    Math.log(1 + documents.length / (1 + documents.filter((terms) => terms.has(term)).length)) + 0.1;
  const total = [...wanted].reduce((sum, term) => sum + weightOf(term), 0);
  const all = evidence.flatMap(({ text, number, similarity }, place) =>
    sentencesOf(text).map((sentence) => {
      const terms = new Set(termsOf(sentence.text));
      const shared = [...wanted].filter((term) => terms.has(term)).reduce((sum, term) => sum + weightOf(term), 0);
      const coverage = total === 0 ? 0 : shared / total;
      return { text: sentence.text, number, coverage, rank: coverage + 0.5 * Math.max(0, similarity) - place * 0.02 };
    }),
  );
  return all.sort((a, b) => b.rank - a.rank || a.number - b.number);
}

export const extractiveWriter: Writer = {
  id: "extractive",
  kinds: ["answer"],
  async write(task) {
    if (task.kind !== "answer") return "";
    const best = bestSentences(task.question, task.evidence);
    const top = best[0]?.coverage ?? 0;
    const chosen = best
      .filter(({ coverage }, i) => i === 0 || coverage >= Math.max(0.3, top * 0.7))
      .slice(0, MOST_SENTENCES);
    const seen = new Set<string>();
    return chosen
      .filter(({ text }) => !seen.has(text) && seen.add(text))
      .map(({ text, number }) => `${text} [${number}]`)
      .join(" ");
  },
};
