// What a form costs: a model's perplexity of the text that ships with Irori, in that form and in float32.
// It does not know how forms are made.
import type { Engine, LeaseForm } from "./engine.ts";

/** Longest stretch of the text that is compared, in tokens. */
const CHECKED_TOKENS = 2048;

export interface FormCheck {
  readonly form: LeaseForm;
  readonly tokens: number;
  readonly perplexity: number;
  readonly f32Perplexity: number;
}

/** Compares `form` (default: the one that answers are served in) with float32; a float32 form that was made for this goes again. */
export async function checkForm(
  engine: Engine,
  model: string,
  { form, signal }: { readonly form?: LeaseForm | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<FormCheck> {
  const { SAMPLE_TEXT } = await import("./sample-text.ts"); // the text loads with its first use
  const stored = await engine.pull(model, { form, signal });
  const hadFloats = await engine.store.hasPrepared(stored, "f32");
  const score = async (form: LeaseForm | undefined) => {
    await using lease = await engine.lease(model, { form, signal });
    const most = Math.min(CHECKED_TOKENS, lease.manifest.config.maxPositions);
    const { ids, perplexity } = await lease.score((await lease.promptIds({ text: SAMPLE_TEXT })).slice(0, most), {
      signal,
    });
    return { form: form ?? lease.manifest.form, tokens: ids.length, perplexity };
  };
  try {
    const scored = await score(form);
    return { ...scored, f32Perplexity: (await score("f32")).perplexity };
  } finally {
    if (!hadFloats) await engine.store.removePrepared(stored, "f32");
  }
}
