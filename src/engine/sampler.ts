// One answer's choice of tokens: its settings, its chance, and what it remembers of the tokens before.
// It does not know text, steps or rows.
import { type Random, seededRandom } from "../base/mod.ts";
import { drawn, likeliest } from "./distribution.ts";
import { type Allowed, type Candidates, ChangedLogits, logSum } from "./logits.ts";
import { checkSampling, type Sampling } from "./sampling.ts";

/** Which tokens may come next: what a grammar says. */
export interface Constraint {
  /** Bit i & 31 of word i >> 5: whether token i may come; undefined where all may. It is asked once before each token. */
  allowed(): Uint32Array | undefined;
  /** The token that came. */
  accept(id: number): void;
}

export interface SamplerOptions {
  readonly sampling: Sampling;
  readonly seed: number;
  readonly vocabSize: number;
  /** Tokens of the prompt. */
  readonly prompt: readonly number[];
  /** Sequences of tokens that never become whole. */
  readonly banned?: readonly (readonly number[])[] | undefined;
  /** Tokens that may not come before the answer has `minTokens`. */
  readonly ends?: readonly number[] | undefined;
  readonly minTokens?: number | undefined;
  readonly constraint?: Constraint | undefined;
  /** Of each token, its log-probability and those of so many of the likeliest. Default: not told. */
  readonly logprobs?: number | undefined;
}

export interface TokenLogprob {
  readonly id: number;
  /** ln p under the model itself: before temperature, filters, penalties and biases. */
  readonly logprob: number;
}

export interface Choice extends TokenLogprob {
  /** The likeliest tokens, descending. */
  readonly top: readonly TokenLogprob[];
}

export class Sampler {
  readonly #options: SamplerOptions;
  readonly #random: Random;
  readonly #seen: Set<number>;
  readonly #counts = new Map<number, number>();
  /** Prompt and answer, as far back as the longest banned sequence. */
  readonly #recent: number[];
  readonly #longest: number;
  #made = 0;

  /** Throws "bad-input" for settings that mean nothing. */
  constructor(options: SamplerOptions) {
    checkSampling(options.sampling, options.vocabSize);
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#seen = new Set(options.prompt);
    this.#longest = Math.max(0, ...(options.banned ?? []).map(({ length }) => length - 1));
    this.#recent = options.prompt.slice(options.prompt.length - this.#longest);
  }

  /** The next token. It counts as come only when `accept` is told. */
  choose(candidates: Candidates): number {
    const { sampling } = this.#options;
    const history = { seen: this.#seen, counts: this.#counts };
    const logits = new ChangedLogits(candidates, sampling, history, this.#allowed());
    return sampling.temperature === 0 ? likeliest(logits) : drawn(logits, sampling, this.#random);
  }

  /** What the model thought of a token; undefined where log-probabilities are not wanted. */
  logprobs(candidates: Candidates, id: number): Choice | undefined {
    const { logprobs, sampling } = this.#options;
    if (logprobs === undefined) return undefined;
    const isPlain = sampling.temperature === 0 || sampling.temperature === 1;
    const all = isPlain ? candidates.logSumExp : logSum(candidates.all, 1);
    const of = (token: number): TokenLogprob => ({ id: token, logprob: (candidates.all[token] as number) - all });
    return { ...of(id), top: candidates.ids.slice(0, logprobs).map(of) };
  }

  /** A token came. */
  accept(id: number): void {
    this.#made++;
    this.#seen.add(id);
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    this.#recent.push(id);
    if (this.#recent.length > this.#longest) this.#recent.shift();
    this.#options.constraint?.accept(id);
  }

  #allowed(): Allowed {
    const { banned = [], ends = [], minTokens = 0, constraint } = this.#options;
    const mask = constraint?.allowed();
    const all = new Set(this.#made < minTokens ? ends : []);
    for (const sequence of banned) {
      const before = sequence.slice(0, -1);
      const at = this.#recent.length - before.length;
      if (before.every((id, i) => this.#recent[at + i] === id)) all.add(sequence.at(-1) as number);
    }
    return { banned: all, mask };
  }
}
