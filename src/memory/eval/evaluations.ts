// The experiments by name, each made of an embedder, a seed and, where it reads any, data of others. It does not know files.
import { IroriError } from "../../base/mod.ts";
import type { Embedder } from "../embedder.ts";
import type { Writer } from "../writer.ts";
import { bilingual } from "./bilingual.ts";
import { conversations, readConversations } from "./conversations.ts";
import { english } from "./english.ts";
import { ownInsightSet, readInsightSet } from "./english-data.ts";
import { exp23 } from "./exp23.ts";
import { makeExp23, readExp23 } from "./exp23-data.ts";
import { type Experiment, type ExperimentOptions, runExperiment } from "./experiment.ts";
import { honesty } from "./honesty.ts";
import { EVALUATIONS, type EvaluationName } from "./names.ts";

export interface EvaluationSetting {
  readonly embedder: Embedder;
  readonly writer?: Writer | undefined;
  readonly seed: number;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  /** Texts of data files, in the order that the experiment wants them. */
  readonly data: readonly string[];
}

type AnyExperiment = Experiment<{ readonly id: string }, object>;
const any = <I extends { readonly id: string }, R>(experiment: Experiment<I, R>): AnyExperiment =>
  experiment as unknown as AnyExperiment;

const evaluations: Readonly<Record<EvaluationName, (setting: EvaluationSetting) => AnyExperiment>> = {
  honesty: ({ embedder, seed }) => any(honesty({ embedder, seed })),
  exp23: ({ data: [text], embedder, seed, now }) =>
    any(exp23({ rows: text === undefined ? makeExp23(seed) : readExp23(text), embedder, seed, now })),
  english: ({ data: [knowledge, questions], embedder, seed }) => {
    if ((knowledge === undefined) !== (questions === undefined))
      throw new IroriError("bad-input", {
        what: "data of the English insight experiment",
        got: "one file",
        wanted: "two: the statements, then the questions",
      });
    const set = knowledge === undefined ? ownInsightSet : readInsightSet(knowledge, questions as string);
    return any(english({ set, embedder, seed }));
  },
  bilingual: ({ embedder, seed }) => any(bilingual({ embedder, seed })),
  conversations: ({ data: [text], embedder, writer, now }) => {
    if (text === undefined)
      throw new IroriError("bad-input", {
        what: "conversations",
        got: "no data",
        wanted: "the JSON of LongMemEval or LoCoMo",
      });
    return any(conversations({ conversations: readConversations(text), embedder, writer, now }));
  },
};

/** Throws "bad-input" for an unknown name. */
export async function runEvaluation(name: string, setting: EvaluationSetting, options: ExperimentOptions) {
  const known = EVALUATIONS.find((one) => one === name);
  if (known === undefined)
    throw new IroriError("bad-input", {
      what: "an experiment",
      got: JSON.stringify(name),
      wanted: EVALUATIONS.join(", "),
    });
  return await runExperiment(evaluations[known](setting), options);
}
