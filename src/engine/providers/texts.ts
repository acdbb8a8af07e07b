// What every embedder asks of its texts. It does not know who embeds them.
import { cancelled } from "../../base/mod.ts";

/** Which texts have no word. Throws "cancelled" where the signal has aborted. */
export function checkTexts(texts: readonly string[], id: string, signal: AbortSignal | undefined): { empty: number[] } {
  if (signal?.aborted) throw cancelled(`embedding by ${id}`, signal);
  return { empty: texts.flatMap((text, i) => (text.trim() === "" ? [i] : [])) };
}
