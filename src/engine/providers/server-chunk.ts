// One piece of a streamed answer in OpenAI's shapes, of a chat or of a text, as plain data. It does not know where it comes from.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";
import type { StopReason } from "../generation.ts";
import type { TokenChance, TokenChoice } from "./generator.ts";

export interface Chunk {
  readonly text: string;
  readonly logprobs?: TokenChoice | undefined;
  readonly stop?: StopReason | undefined;
  readonly usage?: { readonly promptTokens: number; readonly tokens: number } | undefined;
  readonly error?: string | undefined;
}

const chance = z.object({ token: z.string(), logprob: z.number() });
const chat = z.object({ content: z.array(chance.extend({ top_logprobs: z.array(chance).nullish() })).nullish() });
const text = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});
const choice = z.object({
  delta: z.object({ content: z.string().nullish() }).nullish(),
  text: z.string().nullish(),
  finish_reason: z.string().nullish(),
  logprobs: z.union([text, chat]).nullish(),
});
const count = z.number().int().nonnegative();
const shape = z.object({
  choices: z.array(choice).nullish(),
  usage: z.object({ prompt_tokens: count, completion_tokens: count.nullish() }).nullish(),
  error: z.union([z.string(), z.object({ message: z.string() })]).nullish(),
});

/** Throws "library" for what is no such piece. */
export function chunkOf(id: string, data: string): Chunk {
  const bad = (got: string, cause?: unknown) =>
    new IroriError("library", { what: `${id}: a piece of its answer is not of OpenAI's shape`, got, cause });
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw bad(JSON.stringify(data.slice(0, 80)), cause);
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw bad(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  const { choices, usage, error } = parsed.data;
  const first = choices?.[0];
  return {
    text: first?.delta?.content ?? first?.text ?? "",
    logprobs: first?.logprobs ? choiceOf(first.logprobs) : undefined,
    stop: first?.finish_reason == null ? undefined : first.finish_reason === "length" ? "length" : "stop",
    usage: usage ? { promptTokens: usage.prompt_tokens, tokens: usage.completion_tokens ?? 0 } : undefined,
    error: typeof error === "string" ? error : error?.message,
  };
}

function choiceOf(said: z.infer<typeof chat> | z.infer<typeof text>): TokenChoice | undefined {
  const chanceOf = ({ token, logprob }: z.infer<typeof chance>): TokenChance => ({ text: token, logprob });
  if ("tokens" in said) {
    const [token] = said.tokens;
    const [logprob] = said.token_logprobs;
    if (token === undefined || logprob == null) return undefined;
    const top = Object.entries(said.top_logprobs?.[0] ?? {}).map(([other, p]) => ({ text: other, logprob: p }));
    return { text: token, logprob, top: top.sort((a, b) => b.logprob - a.logprob) };
  }
  const [only] = said.content ?? [];
  return only && { ...chanceOf(only), top: (only.top_logprobs ?? []).map(chanceOf) };
}
