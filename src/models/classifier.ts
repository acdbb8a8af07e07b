// What encoders with a trained classifier have in common: rerankers and models that sort texts into classes.
// It does not know where the classifier's weights are.
import { z } from "zod";
import { reshape, slice, type Value } from "../tensor/mod.ts";

/** Members of config.json: for a family's schema. */
export const classMembers = {
  architectures: z.array(z.string()).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  num_labels: z.number().int().positive().nullish(),
};
const schema = z.object(classMembers);

/** Classes that a model saved with a classifier tells apart (two, where they have no names); 0 for other models. */
export function classesOf({ architectures, id2label, num_labels: count }: z.infer<typeof schema>): number {
  if (!architectures?.some((name) => name.endsWith("ForSequenceClassification"))) return 0;
  return count ?? (id2label ? Object.keys(id2label).length : 2);
}

/** [B, T, D] → [B, D]: what the first token ([CLS]) has become. */
export const firstToken = (hidden: Value): Value =>
  reshape(slice(hidden, 1, 0, 1), [hidden.shape[0] as number, hidden.shape[2] as number]);
