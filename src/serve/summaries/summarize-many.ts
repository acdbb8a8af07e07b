// Many texts as a batch: what was made of each, and why of others nothing was. It does not know how a text is summarised.
import { IroriError } from "../../base/mod.ts";
import { inOrder } from "./in-order.ts";
import type { Summary } from "./report.ts";
import { type SummarizeOptions, summarize } from "./summarize.ts";

export interface Document {
  readonly id: string;
  readonly text: string;
}
export interface Summaries {
  /** In the documents' order, without those that failed. */
  readonly responses: readonly ({ readonly id: string } & Summary)[];
  readonly errors: readonly { readonly id: string; readonly code: string; readonly message: string }[];
}

/** Many texts, a few at a time (default 2); one that fails does not stop the others. Throws "bad-input" for an id that comes twice. */
export async function summarizeMany(
  documents: readonly Document[],
  options: SummarizeOptions & { readonly documentsAtOnce?: number },
): Promise<Summaries> {
  const ids = new Set(documents.map(({ id }) => id));
  if (ids.size < documents.length)
    throw new IroriError("bad-input", { what: "ids of documents", got: "one twice", wanted: "each once" });
  const responses: ({ id: string } & Summary)[] = [];
  const errors: { id: string; code: string; message: string }[] = [];
  await inOrder(documents, options.documentsAtOnce ?? 2, async ({ id, text }) => {
    try {
      responses.push({ id, ...(await summarize(text, options)) });
    } catch (error) {
      if (options.signal?.aborted || !(error instanceof IroriError)) throw error;
      errors.push({ id, code: error.code, message: error.message });
    }
  });
  const order = new Map(documents.map(({ id }, i) => [id, i]));
  const byOrder = (a: { id: string }, b: { id: string }) => (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0);
  return { responses: responses.sort(byOrder), errors: errors.sort(byOrder) };
}
