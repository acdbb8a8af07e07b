// The work that both sides do, word for word: prompts, lengths, what is read when. It does not know who does it.
import { readFileSync } from "node:fs";

/** Prompt of the decode figure, and the tokens made after it. */
export const DECODE_PROMPT = 128;
export const DECODE_TOKENS = 64;
/** Prompt of the prefill figure and of the memory figure. */
export const PREFILL_TOKENS = 512;
/** Tokens that a context holds: the prompt of 512 and 64 more. */
export const CONTEXT = PREFILL_TOKENS + DECODE_TOKENS;

/** 26 tokens of SmolLM2's vocabulary. */
export const COLD_PROMPT =
  "The hearth in the middle of an old house is never allowed to go out, because it is the place where people come to sit";

/** Token ids spread over the vocabulary, always the same. */
export const promptIds = (length: number, vocabSize: number): number[] =>
  Array.from({ length }, (_, i) => (i * 7919 + 13) % vocabSize);

/** Tokens per second after the first of them; `at` are the moments (ms) at which tokens came. */
export function decodeRate(at: readonly number[]): number {
  return ((at.length - 1) * 1000) / ((at.at(-1) as number) - (at[0] as number));
}

/** Bytes of this process that no file backs: RssAnon + RssShmem. Throws where the system does not tell (only Linux does). */
export function privateBytes(): number {
  const status = readFileSync("/proc/self/status", "utf8");
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  return (kilobytes("RssAnon") + kilobytes("RssShmem")) * 1024;
}

/** What run.ts sends a side. `folder` is the prepared model's, `path` the GGUF file. */
export interface Opening {
  readonly home: string;
  readonly model: string;
  readonly path: string;
  readonly threads: number;
  readonly spinning: boolean;
}
export type Request = {
  readonly do: string;
  readonly opening?: Opening | InsideOpening;
  readonly rows?: number;
  readonly [more: string]: unknown;
};
/** What inside.ts opens: a checkpoint folder in Hugging Face's layout. */
export interface InsideOpening {
  readonly home: string;
  readonly path: string;
  readonly threads: number;
  /** Which of torch's attentions is used. */
  readonly attention?: "sdpa" | "eager";
}
export type Reply = { readonly value: unknown } | { readonly error: string };

/** Answers run.ts's requests one after another, until it hangs up. */
export function answer(tasks: Readonly<Record<string, (request: Request) => Promise<unknown>>>): void {
  process.on("message", async (request: Request) => {
    const reply: Reply = await Promise.resolve(tasks[request.do]?.(request)).then(
      (value) => ({ value }),
      (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
    );
    process.send?.(reply);
  });
  process.on("disconnect", () => process.exit(0));
}
