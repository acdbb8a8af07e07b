// From a piece of text to ids, by whichever model a tokenizer has; ids of short pieces are remembered.
// Knows the models; does not know how text is cut into pieces.
import { Merging } from "./merge.ts";
import type { ModelSettings } from "./parts.ts";
import type { Prepared } from "./prepared.ts";
import { ScoredMerging } from "./scored-merge.ts";
import { Unigram } from "./unigram.ts";
import { WordPiece } from "./word-piece.ts";

/** How one model makes ids of a piece. */
interface Model {
  idsOf(piece: string): readonly number[];
}

type Kind = ModelSettings["kind"];
type SettingsOf<K extends Kind> = Extract<ModelSettings, { kind: K }>;
const models: { readonly [K in Kind]: new (prepared: Prepared, settings: SettingsOf<K>) => Model } = {
  bpe: Merging,
  "scored-bpe": ScoredMerging,
  "word-piece": WordPiece,
  unigram: Unigram,
};

const longestKept = 64;
const keptPieces = 8192;

export class Pieces {
  readonly #model: Model;
  readonly #kept = new Map<string, readonly number[]>();

  constructor(prepared: Prepared) {
    const { model } = prepared.settings;
    const make = models[model.kind] as new (prepared: Prepared, settings: ModelSettings) => Model;
    this.#model = new make(prepared, model);
  }

  /** Appends the ids of a piece to `out`. */
  append(piece: string, out: number[]): void {
    const known = this.#kept.get(piece);
    const ids = known ?? this.#model.idsOf(piece);
    for (const id of ids) out.push(id);
    if (known !== undefined || piece.length > longestKept) return;
    if (this.#kept.size >= keptPieces) this.#kept.clear();
    this.#kept.set(piece, ids);
  }
}
