// Beam search as transformers does it: which continuations go on, which have ended, and when nothing better can come.
// It does not know rows, caches or text; scores are sums of log-probabilities.

export interface BeamOptions {
  /** Continuations that go on at once. */
  readonly beams: number;
  /** A continuation's score is its log-probability / length^lengthPenalty: above 0 longer ones gain. */
  readonly lengthPenalty: number;
  /** "full": ends when as many have ended as there are beams; "heuristic": when the best that goes on is worse than all of them as
   * it is; "never": when no length could make it better. */
  readonly early: "full" | "heuristic" | "never";
  /** Tokens that end a continuation. */
  readonly ends: readonly number[];
  readonly maxTokens: number;
}

export interface Candidate {
  readonly id: number;
  readonly logprob: number;
}

/** A continuation that goes on: that of an earlier beam and a token. */
export interface NextBeam {
  readonly parent: number;
  readonly id: number;
}

export interface Ended {
  readonly ids: readonly number[];
  /** Divided by its length's penalty. */
  readonly score: number;
  readonly logprob: number;
  readonly isWhole: boolean;
}

interface Running {
  readonly ids: readonly number[];
  readonly logprob: number;
}

export class BeamSearch {
  readonly #options: BeamOptions;
  #running: readonly Running[] = [{ ids: [], logprob: 0 }];
  #ended: readonly Ended[] = [];
  #isDone = false;

  constructor(options: BeamOptions) {
    this.#options = options;
  }

  get isDone(): boolean {
    return this.#isDone;
  }
  /** Those that have ended, the best first. */
  get ended(): readonly Ended[] {
    return this.#ended;
  }
  /** Candidates of each beam that are looked at. */
  get width(): number {
    return Math.max(2, 1 + this.#options.ends.length) * this.#options.beams;
  }

  /** Takes the best candidates after each running beam; the beams that go on. */
  step(candidates: readonly (readonly Candidate[])[]): readonly NextBeam[] {
    const { beams, ends, maxTokens, lengthPenalty, early } = this.#options;
    const all = candidates
      .flatMap((some, parent) => {
        const { ids, logprob } = this.#running[parent] as Running;
        return some.map(({ id, logprob: own }) => ({ parent, id, ids: [...ids, id], logprob: logprob + own }));
      })
      .sort((a, b) => b.logprob - a.logprob || a.parent - b.parent || a.id - b.id)
      .slice(0, this.width);
    const length = (this.#running[0] as Running).ids.length + 1;
    const hasEnded = ({ id }: NextBeam): boolean => ends.includes(id) || length >= maxTokens;
    const next = all.filter((each) => !hasEnded(each)).slice(0, beams);
    const penalty = length ** lengthPenalty;
    const isFull = early === "full" && this.#ended.length >= beams;
    const ending = all.slice(0, beams).filter((each) => hasEnded(each) && !isFull);
    this.#ended = [
      ...this.#ended,
      ...ending.map(({ id, ids, logprob }) => ({ ids, logprob, score: logprob / penalty, isWhole: ends.includes(id) })),
    ]
      .sort((a, b) => b.score - a.score)
      .slice(0, beams);
    this.#running = next;
    this.#isDone = next.length === 0 || !this.#canImprove(length);
    return next;
  }

  #canImprove(length: number): boolean {
    const { beams, early, lengthPenalty, maxTokens } = this.#options;
    if (this.#ended.length < beams) return true;
    if (early === "full") return false;
    const reach = early === "never" && lengthPenalty > 0 ? maxTokens : length;
    const best = (this.#running[0] as Running).logprob / reach ** lengthPenalty;
    return best > (this.#ended.at(-1) as Ended).score;
  }
}
