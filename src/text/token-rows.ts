// Texts as rows of token ids for experiments: padded to one length, with each token's text and the places of a passage.
// It does not know models.
import { IroriError } from "../base/mod.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface TokenRowsOptions {
  /** Whether the beginning-of-text token stands in front. Default: as the model expects it. */
  readonly bos?: boolean | undefined;
  /** Which end of shorter rows is padded. Default "right". */
  readonly padding?: "left" | "right" | undefined;
  /** Control tokens in the texts stand for themselves. Default false. */
  readonly control?: boolean | undefined;
}

/** What a trace takes, and whether a beginning-of-text token is in front. */
export interface TokenRows {
  /** [B, T]. */
  readonly ids: readonly (readonly number[])[];
  /** 1 at tokens, 0 at padding: [B, T]. */
  readonly attentionMask: readonly (readonly number[])[];
  readonly hasBos: boolean;
}

/** Ids of a text with the beginning-of-text token in front, once, where it is wanted: default, as the model expects it. */
export function encodeWithBos(
  tokenizer: Tokenizer,
  text: string,
  { bos = tokenizer.addsBos, control = false }: Omit<TokenRowsOptions, "padding"> = {},
): number[] {
  const { bosId } = tokenizer;
  const ids = tokenizer.encode(text, { control });
  return bos && bosId !== undefined && ids[0] !== bosId ? [bosId, ...ids] : ids;
}

/** Rows of one length. Throws "bad-input" for an empty text, or where a bos is asked of a tokenizer that has none. */
export function toTokens(tokenizer: Tokenizer, texts: readonly string[], options: TokenRowsOptions = {}): TokenRows {
  const { padding = "right" } = options;
  if (options.bos && tokenizer.bosId === undefined)
    throw new IroriError("bad-input", { what: "a token in front of the texts", got: "a tokenizer without one" });
  const rows = texts.map((text) => encodeWithBos(tokenizer, text, options));
  const empty = rows.findIndex((row) => row.length === 0);
  if (empty >= 0 || rows.length === 0)
    throw new IroriError("bad-input", {
      what: `text ${Math.max(empty, 0)} of ${rows.length} has no tokens`,
      wanted: "1 or more",
    });
  const length = Math.max(...rows.map((row) => row.length));
  const pad = tokenizer.padId ?? tokenizer.eosIds[0] ?? 0;
  const padded = (row: readonly number[], own: number[], filler: number): number[] => {
    const rest = new Array<number>(length - row.length).fill(filler);
    return padding === "left" ? [...rest, ...own] : [...own, ...rest];
  };
  return {
    ids: rows.map((row) => padded(row, row, pad)),
    attentionMask: rows.map((row) =>
      padded(
        row,
        row.map(() => 1),
        0,
      ),
    ),
    hasBos: tokenizer.bosId !== undefined && rows.every((row) => row[0] === tokenizer.bosId),
  };
}

/** The text of each token by itself; a part of a character shows as U+FFFD. */
export const toStrTokens = (tokenizer: Tokenizer, ids: readonly number[]): string[] =>
  ids.map((id) => tokenizer.tokenText(id));

/**
 * Places of the tokens that a passage of a text takes part of, from 0; the ids are the text's own, without padding.
 * @param occurrence which of several, from 0; -1 is the last
 */
export function positionsOf(tokenizer: Tokenizer, ids: readonly number[], passage: string, occurrence = 0): number[] {
  const pieces = ids.map((id) => Buffer.from(tokenizer.bytesOf(id, { control: true })));
  const all = Buffer.concat(pieces);
  const wanted = Buffer.from(passage);
  const found: number[] = [];
  for (let at = all.indexOf(wanted); at >= 0 && wanted.length > 0; at = all.indexOf(wanted, at + 1)) found.push(at);
  const start = found.at(occurrence);
  if (start === undefined)
    throw new IroriError("not-found", {
      what: `the passage ${JSON.stringify(passage)} is not in the text${occurrence === 0 ? "" : ` (occurrence ${occurrence} of ${found.length})`}`,
      got: JSON.stringify(all.toString()),
    });
  const positions: number[] = [];
  let at = 0;
  pieces.forEach((piece, position) => {
    if (at < start + wanted.length && at + piece.length > start) positions.push(position);
    at += piece.length;
  });
  return positions;
}

/** Two texts as rows that may be patched into each other. Throws "bad-input", with the tokens of both, where they are not of one length. */
export function tokenPair(tokenizer: Tokenizer, a: string, b: string, options: TokenRowsOptions = {}): TokenRows {
  const rows = toTokens(tokenizer, [a, b], options);
  const lengths = rows.attentionMask.map((mask) => mask.filter((one) => one === 1).length);
  if (lengths[0] === lengths[1]) return rows;
  const own = [a, b].map((text) => toStrTokens(tokenizer, toTokens(tokenizer, [text], options).ids[0] ?? []));
  throw new IroriError("bad-input", {
    what: "a pair of texts that are not of one length",
    got: own
      .map((texts) => `${texts.length} tokens (${texts.map((text) => JSON.stringify(text)).join(" ")})`)
      .join(" and "),
    next: "change one until positions stand for the same thing in both",
  });
}
