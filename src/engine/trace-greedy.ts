// Greedy tokens behind the texts of a trace, each from a run over the whole text so far.
// It does not know KvCaches: it is what answers over them are compared with.
import { IroriError } from "../base/mod.ts";
import type { InterventionSpec, Numbers } from "../hooks/mod.ts";
import { type TraceModel, type TraceRequest, trace } from "./trace.ts";
import { checkedRows, type Rows, type Span } from "./trace-rows.ts";

/**
 * Greedy tokens after each row's text, `count` of them: [B][count]. Interventions stay where the rows of the request have them;
 * those without positions reach the new tokens too.
 */
export async function traceGreedy(model: TraceModel, request: TraceRequest, count: number): Promise<number[][]> {
  for (const name of ["from", "types"] as const)
    if (request[name] !== undefined)
      throw new IroriError("unsupported", { what: `${name} of a trace while tokens are made`, next: "leave it out" });
  const rows = checkedRows(model.config, request);
  const made: number[][] = [];
  for (const [r, all] of rows.ids.entries()) {
    const [start, end] = rows.spans[r] as Span;
    const text = all.slice(start, end);
    const length = text.length;
    if (length + count > model.config.maxPositions + 1)
      throw new IroriError("no-room", {
        what: `row ${r} with what is to be made`,
        got: length + count,
        wanted: `at most ${model.config.maxPositions + 1} tokens`,
      });
    const own = textsOfRow(request.tensors, rows, r, [start, end]);
    const tensors = { ...request.tensors, ...own };
    const interventions = (request.interventions ?? []).flatMap((spec) => ofRow(spec, r, length, own));
    while (text.length < length + count) {
      const positions = request.positions && [continued(request.positions[r]?.slice(start, end) ?? [], text.length)];
      const changes = { interventions, tensors, adapter: adapterOf(request, r), processing: request.processing };
      const alone = { ids: [text], positions, ...changes, only: [-1] };
      const { logits } = await trace(model, alone, true);
      text.push(likeliest((logits as Numbers).data as Float32Array, r));
    }
    made.push(text.slice(length));
  }
  return made;
}

/** Positions of a text that has grown to `length` tokens: each new one is one behind the last. */
const continued = (positions: readonly number[], length: number): number[] =>
  Array.from({ length }, (_, i) => positions[i] ?? (positions.at(-1) as number) + 1 + i - positions.length);

const adapterOf = ({ adapter }: TraceRequest, row: number) =>
  adapter === undefined || "changes" in adapter ? adapter : adapter[row];

/** The largest of one position's logits; throws where one is not finite. */
function likeliest(logits: Float32Array, row: number): number {
  let best = 0;
  for (const [id, logit] of logits.entries()) {
    if (!Number.isFinite(logit))
      throw new IroriError("bad-input", { what: `row ${row}: the logits are not finite`, got: logit });
    if (logit > (logits[best] as number)) best = id;
  }
  return best;
}

/** What row `r` alone has of tensors of the whole batch's shape, under names of their own: a mean is still that of the batch. */
function textsOfRow(
  tensors: TraceRequest["tensors"],
  { ids }: Rows,
  r: number,
  [start, end]: Span,
): Record<string, Numbers> {
  const length = ids[0]?.length as number;
  return Object.fromEntries(
    Object.entries(tensors ?? {}).flatMap(([name, { shape, data }]) => {
      if (shape.length < 3 || shape[0] !== ids.length || shape[1] !== length) return [];
      const width = data.length / (ids.length * length);
      const cut = data.slice((r * length + start) * width, (r * length + end) * width) as Float32Array;
      return [[inRow(name), { shape: [1, end - start, ...shape.slice(2)], data: cut }]];
    }),
  );
}
const inRow = (name: string): string => `${name} (one row)`;

/** An intervention as the row alone has it; positions count from the row's start, so that they stay. */
function ofRow(
  spec: InterventionSpec,
  row: number,
  length: number,
  own: Readonly<Record<string, Numbers>>,
): readonly InterventionSpec[] {
  if (spec.rows !== undefined && !spec.rows.includes(row)) return [];
  if (spec.do === "row")
    throw new IroriError("unsupported", {
      what: `${spec.at}: values of another row while tokens are made`,
      next: "capture them and set them",
    });
  const positions = spec.positions?.map((p) => (p < 0 ? length + p : p));
  const alone = { ...spec, rows: undefined, ...(positions && { positions }) };
  const isCut = alone.do === "set" && typeof alone.value === "string" && inRow(alone.value) in own;
  return [isCut ? { ...alone, value: inRow(alone.value as string) } : alone];
}
