// The rows of a trace: checked, where each row's text stands in it, and the places and targets that are counted from there.
// It does not know models or Graphs.
import { IroriError } from "../base/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import type { Config } from "../models/mod.ts";

export type RowsOf<T> = readonly (readonly T[])[];

export interface RowsRequest {
  /** Token ids of each row, all of one length: [B, T]. */
  readonly ids: RowsOf<number>;
  /** 1 at real tokens, 0 at padding (at one end of a row): [B, T]. Default: all real. */
  readonly attentionMask?: RowsOf<number> | undefined;
  /** Each token's place in its text: [B, T]. Default: counted from the first real token. */
  readonly positions?: RowsOf<number> | undefined;
  /** Which text of a pair each token belongs to (token_type_ids): [B, T]. Default: the first. */
  readonly types?: RowsOf<number> | undefined;
}

/** Where a row's text begins and ends (exclusive). */
export type Span = readonly [start: number, end: number];

export interface Rows {
  readonly ids: RowsOf<number>;
  readonly mask: RowsOf<number>;
  readonly positions: RowsOf<number>;
  readonly types: RowsOf<number> | undefined;
  readonly spans: readonly Span[];
  /** B and T. */
  readonly count: number;
  readonly length: number;
}

/** Refuses, before any work, rows that do not fit each other or the model. */
export function checkedRows(config: Config, { ids, attentionMask, positions, types }: RowsRequest): Rows {
  const length = ids[0]?.length ?? 0;
  const bad = (what: string, got: string | number, wanted: string | number) =>
    new IroriError("bad-input", { what, got, wanted });
  if (ids.length === 0 || length === 0)
    throw bad("the batch is empty", `${ids.length} x ${length} tokens`, "1 x 1 or more");
  if (length > config.maxPositions)
    throw bad("rows are longer than the context", length, `at most ${config.maxPositions}`);
  for (const [name, rows] of Object.entries({ ids, attentionMask, positions, types }))
    if (rows && (rows.length !== ids.length || rows.some((row) => row.length !== length)))
      throw bad(`${name}: rows`, rows.map((row) => row.length).join(), `${ids.length} rows of ${length}`);
  const wrong = ids.flat().find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabSize);
  if (wrong !== undefined) throw bad("a token id", wrong, `0 to ${config.vocabSize - 1}`);
  const far = positions?.flat().find((position) => position < 0 || position >= config.maxPositions);
  if (far !== undefined) throw bad("a position", far, `0 to ${config.maxPositions - 1}`);
  const mask = attentionMask ?? ids.map((row) => row.map(() => 1));
  const spans = mask.map(spanOf);
  const counted = spans.map(([start]) => Array.from({ length }, (_, i) => Math.max(0, i - start)));
  return { ids, mask, positions: positions ?? counted, types, spans, count: ids.length, length };
}

function spanOf(mask: readonly number[]): Span {
  const [start, end] = [mask.indexOf(1), mask.lastIndexOf(1) + 1];
  const isSpan =
    start >= 0 &&
    (start === 0 || end === mask.length) &&
    mask.slice(start, end).every((one) => one === 1) &&
    mask.every((one) => one === 0 || one === 1);
  if (isSpan) return [start, end];
  throw new IroriError("bad-input", {
    what: "a row of the attention mask",
    got: mask.join(""),
    wanted: "ones in one piece, zeros at one end",
  });
}

/** Where in the packed tokens (of B · T) positions of each row's text are; negative ones count back from its end: [B][P]. */
export function placesOf({ spans, length }: Rows, positions: readonly number[]): number[][] {
  if (positions.length === 0)
    throw new IroriError("bad-input", { what: "wanted positions", got: "none", wanted: "1 or more" });
  return spans.map(([start, end], row) =>
    positions.map((position) => {
      const place = position < 0 ? end + position : start + position;
      if (Number.isInteger(position) && place >= start && place < end) return row * length + place;
      throw new IroriError("bad-input", {
        what: `a position of row ${row}`,
        got: position,
        wanted: `${start - end} to ${end - start - 1}`,
      });
    }),
  );
}

/** Places (of B · T) that have a next real token, and those tokens. */
export function targetsOf({ ids, mask, length }: Rows) {
  const found: { readonly place: number; readonly id: number }[] = [];
  ids.forEach((row, r) => {
    row.forEach((_, i) => {
      const isReal = mask[r]?.[i] === 1 && mask[r]?.[i + 1] === 1;
      if (isReal) found.push({ place: r * length + i, id: row[i + 1] as number });
    });
  });
  if (found.length === 0)
    throw new IroriError("bad-input", {
      what: "no token has a next one: there is no loss",
      wanted: "rows of 2 tokens or more",
    });
  return { places: found.map(({ place }) => place), ids: found.map(({ id }) => id) };
}

export const integers = (rows: RowsOf<number>): Numbers => ({
  shape: [rows.length, rows[0]?.length ?? 0],
  data: BigInt64Array.from(rows.flat(), BigInt),
});
