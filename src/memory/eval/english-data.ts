// Fifty statements in five phases and questions over them, of the design of the original's English insight set, in sentences
// of our own; questions that need several phases, and as many that do not. It does not know who judges them.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";

export interface Statement {
  readonly text: string;
  readonly phase: number;
}
export interface InsightQuestion {
  readonly text: string;
  /** It can be answered only by bringing several phases together. */
  readonly integrates: boolean;
}
export interface InsightSet {
  readonly statements: readonly Statement[];
  readonly questions: readonly InsightQuestion[];
}

const phases: readonly (readonly string[])[] = [
  [
    "Heat always flows from a warm body to a cold one.",
    "Work done by friction turns motion into heat.",
    "A steam engine turns a difference of heat into work.",
    "No engine can turn all of its heat into work.",
    "Entropy measures how much heat can no longer do work.",
    "A closed system drifts towards its most likely arrangement.",
    "Mixing hot and cold water cannot be undone by itself.",
    "A refrigerator needs work to pump heat uphill.",
    "Burning coal releases energy that sunlight stored long ago.",
    "Molecules in a warm gas move faster than in a cold one.",
  ],
  [
    "A message informs the more the less it was expected.",
    "Shannon counted information in bits.",
    "The entropy of a source is the average surprise of its messages.",
    "Noise on a line makes messages uncertain.",
    "Redundancy lets a receiver repair a damaged message.",
    "A code gives short words to frequent symbols.",
    "Erasing one bit of memory must release a little heat.",
    "A demon that sorts molecules must remember what it saw.",
    "A compressed file looks like random noise.",
    "Measuring a system gains information about its state.",
  ],
  [
    "A living cell keeps its inside ordered by using up food.",
    "Plants store the energy of sunlight in sugar.",
    "DNA keeps the building plan of a cell as a text of four letters.",
    "Copying errors in DNA are the source of mutations.",
    "Selection keeps those variants that leave more offspring.",
    "An enzyme makes a reaction likely that would hardly happen.",
    "A cell membrane lets some molecules pass and holds others back.",
    "Organisms give heat and waste back to their surroundings.",
    "Cells repair damaged DNA with the help of the second strand.",
    "An ecosystem passes energy from plants to grazers to hunters.",
  ],
  [
    "A neuron fires when its inputs add up beyond a threshold.",
    "The brain predicts what the senses will report next.",
    "Surprise changes the strength of connections between neurons.",
    "Sleep lets the brain replay and sort the events of the day.",
    "Attention selects a small part of what the senses deliver.",
    "A memory is stored in many connections at once.",
    "The brain of a person uses about twenty watts.",
    "Learning makes future errors of prediction smaller.",
    "Habits free attention for what is new.",
    "Pain tells an animal that its body is in danger.",
  ],
  [
    "Markets gather the knowledge of many people in prices.",
    "A law is a rule that strangers can rely on.",
    "Writing lets knowledge outlive the people who had it.",
    "Cities grow where trade routes cross.",
    "A library keeps copies of books in several places.",
    "Rumours change a little each time they are told.",
    "Division of labour needs trust between people.",
    "Science corrects its errors by publishing and repeating.",
    "A language changes with every generation of speakers.",
    "A power grid must match supply and demand at every moment.",
  ],
];

const integrating = [
  "Does erasing memory obey the same limits as a steam engine turning heat into work?",
  "How do living cells keep their order although entropy grows?",
  "Is the surprise of a message the same as the surprise that changes connections between neurons?",
  "What do copying errors in DNA and rumours have in common with noise on a line?",
  "How do DNA repair and libraries use redundancy to keep a text safe?",
  "Why does a brain need energy to gain information and make predictions?",
  "Is learning by errors of prediction like science correcting its errors by repeating?",
  "Do a market's prices and a cell's membrane both select what passes?",
];
const plain = [
  "What does a refrigerator need to pump heat uphill?",
  "In what unit did Shannon count information?",
  "Where do plants store the energy of sunlight?",
  "When does a neuron fire?",
  "Where do cities grow?",
  "How much power does the brain of a person use?",
  "Which football club won the cup in 1974?",
  "How long should an egg be boiled?",
];

export const ownInsightSet: InsightSet = {
  statements: phases.flatMap((texts, i) => texts.map((text) => ({ text, phase: i + 1 }))),
  questions: [
    ...integrating.map((text) => ({ text, integrates: true })),
    ...plain.map((text) => ({ text, integrates: false })),
  ],
};

const knowledge = z.object({ episodes: z.array(z.looseObject({ text: z.string(), phase: z.number() })) });
const questions = z.object({
  questions: z.array(z.looseObject({ question: z.string(), expected_spike: z.boolean() })),
});

/** Reads the original's english_knowledge_base.json and test_questions.json. Its questions are all positive: negatives are added. */
export function readInsightSet(knowledgeJson: string, questionsJson: string): InsightSet {
  try {
    const own = questions.parse(JSON.parse(questionsJson)).questions;
    const all = own.map(({ question, expected_spike }) => ({ text: question, integrates: expected_spike }));
    const hasNegatives = all.some(({ integrates }) => !integrates);
    const added = hasNegatives ? [] : plain.map((text) => ({ text, integrates: false }));
    const { episodes } = knowledge.parse(JSON.parse(knowledgeJson));
    return { statements: episodes.map(({ text, phase }) => ({ text, phase })), questions: [...all, ...added] };
  } catch (error) {
    throw new IroriError("bad-file", {
      what: "an insight set",
      got: (error as Error).message.slice(0, 200),
      wanted: '{ "episodes": [{ "text", "phase" }] } and { "questions": [{ "question", "expected_spike" }] }',
      cause: error,
    });
  }
}
