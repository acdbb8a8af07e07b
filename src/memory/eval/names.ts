// The experiments there are. It does not know what they do.

export const EVALUATIONS = ["honesty", "exp23", "english", "bilingual", "conversations"] as const;
export type EvaluationName = (typeof EVALUATIONS)[number];
