// Interventions as plain data: what to do at a HookPoint, where, and with which numbers; turned into a rewritten Graph and the
// values of its inputs. A spec is JSON, so a run can be written down and replayed. It does not know models or Programs.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import type { Numbers } from "../checkpoint/mod.ts";
import { type Dim, evaluateDim, type Graph, hookPoints, type Value, withTaps } from "../tensor/mod.ts";
import { matching, unknownHookPoint } from "./capture.ts";
import type { Intervention, InterventionKind } from "./interventions.ts";

const whole = z.number().int();
const numbers = z.union([z.string(), z.array(z.number())]);
/** Where: rows of the batch, positions (negative: from the end of each row's text) and heads; default all of them. */
const where = {
  at: z.string(),
  rows: z.array(whole.nonnegative()).optional(),
  positions: z.array(whole).optional(),
  heads: z.array(whole.nonnegative()).optional(),
};
const schema = z.discriminatedUnion("do", [
  z.strictObject({ ...where, do: z.literal("zero") }),
  /** A number, or a tensor by name whose shape is broadcast. */
  z.strictObject({ ...where, do: z.literal("set"), value: z.union([z.number(), z.string()]) }),
  /** Mean of a tensor over all its axes but the HookPoint's last (and its heads). */
  z.strictObject({ ...where, do: z.literal("mean"), of: z.string() }),
  /** Values of another row of the batch. */
  z.strictObject({ ...where, do: z.literal("row"), row: whole.nonnegative() }),
  z.strictObject({ ...where, do: z.literal("steer"), vector: numbers, strength: z.number() }),
  /** The component along a vector is set to `target`: 0 removes it. */
  z.strictObject({ ...where, do: z.literal("clamp"), vector: numbers, target: z.number() }),
]);
export type InterventionSpec = z.infer<typeof schema>;

/** Checks a spec that came from outside; throws "bad-input" naming what is wrong. */
export function readInterventionSpecs(json: unknown): readonly InterventionSpec[] {
  const parsed = z.array(schema).safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new IroriError("bad-input", {
    what: `interventions: ${issue?.path.join(".") || "the whole"}`,
    got: issue?.message,
    wanted: 'a list of { "at": HOOKPOINT, "do": "zero" | "set" | "mean" | "row" | "steer" | "clamp", … }',
    next: "docs/hooks.md has the form",
  });
}

export interface Batch {
  /** Values of the Graph's symbolic dimensions. */
  readonly dims: Readonly<Record<string, number>>;
  /** Of each row, where its text begins and ends (exclusive) among its positions: padding lies outside. */
  readonly spans: readonly (readonly [start: number, end: number])[];
  /** What is made goes on behind the text: positions from its end on are meant too, where a spec names none. */
  readonly isOpen?: boolean;
  /** Tensors that specs name. */
  readonly tensors: Readonly<Record<string, Numbers>>;
}

/** What specs rewrite, without their numbers: specs that differ only in numbers and places are one Program. */
export const interventionsOf = (specs: readonly InterventionSpec[]): readonly Intervention[] =>
  specs.map((spec, i) => ({ name: `do.${i}`, hook: spec.at, kind: KINDS[spec.do] }));

const KINDS: Readonly<Record<InterventionSpec["do"], InterventionKind>> = {
  zero: "zero",
  set: "set",
  mean: "set",
  row: "row",
  steer: "add",
  clamp: "component",
};

/** Specs with a pattern for a HookPoint (`*`, `{a,b}`), once for each HookPoint that it means, in the Graph's order. */
export const withoutPatterns = (
  specs: readonly InterventionSpec[],
  hooks: () => readonly string[],
): readonly InterventionSpec[] =>
  specs.flatMap((spec) =>
    /[*{]/.test(spec.at) ? matching(hooks(), [spec.at]).map((at) => ({ ...spec, at })) : [spec],
  );

/** Shapes of the values at HookPoints; throws "not-found" for one there is none of. */
export function shapesAt(g: Graph, hooks: Iterable<string>): ReadonlyMap<string, readonly Dim[]> {
  const known = hookPoints(g);
  const wanted = [...new Set(hooks)];
  const unknown = wanted.find((hook) => !known.includes(hook));
  if (unknown !== undefined) throw unknownHookPoint(unknown, known);
  const { outputs } = withTaps(g, wanted);
  return new Map(wanted.map((hook) => [hook, (outputs[hook] as Value).shape]));
}

/** The values of the inputs that the interventions of `specs` have, for one run. */
export function interventionInputs(
  specs: readonly InterventionSpec[],
  shapes: ReadonlyMap<string, readonly Dim[]>,
  batch: Batch,
): Record<string, Numbers> {
  const inputs: Record<string, Numbers> = {};
  for (const [i, spec] of specs.entries()) {
    const values = valuesOf(spec, siteOf(spec, shapes.get(spec.at) as readonly Dim[], batch), batch);
    for (const [part, numbers] of Object.entries(values)) inputs[`do.${i}.${part}`] = numbers;
  }
  return inputs;
}

interface Site {
  readonly hook: string;
  readonly shape: readonly number[];
  /** [..., 1]: where it is done. */
  readonly mask: Numbers & { readonly data: Uint8Array };
}

function siteOf(spec: InterventionSpec, dims: readonly Dim[], { dims: sizes, spans, isOpen = false }: Batch): Site {
  const shape = dims.map((dim) => evaluateDim(dim, sizes));
  const isByQuery = /\.hook_(attn_scores|pattern)$/.test(spec.at);
  const [positionAxis, headAxis] = isByQuery ? [2, 1] : [1, shape.length === 4 ? 2 : -1];
  const check = (what: string, values: readonly number[] | undefined, size: number, low = 0) => {
    const wrong = values?.find((value) => value < low || value >= size);
    if (wrong === undefined) return;
    throw new IroriError("bad-input", { what: `${spec.at}: ${what}`, got: wrong, wanted: `${low} to ${size - 1}` });
  };
  const [rows, length] = [shape[0] as number, shape[positionAxis] as number];
  check("rows", spec.rows, rows);
  if (!isOpen) check("positions", spec.positions, length, -length);
  if (spec.heads && headAxis < 0)
    throw new IroriError("bad-input", { what: `${spec.at} has no heads`, got: `shape [${shape}]` });
  check("heads", spec.heads, headAxis < 0 ? 0 : (shape[headAxis] as number));
  const isAt = (row: number, position: number): boolean => {
    const [start, end] = spans[row] as readonly [number, number];
    if (position < start || (position >= end && !isOpen)) return false;
    return spec.positions?.some((p) => (p < 0 ? end + p : start + p) === position) ?? true;
  };
  const masked = [...shape.slice(0, -1), 1];
  const data = new Uint8Array(masked.reduce((a, b) => a * b));
  const strides = masked.map((_, axis) => masked.slice(axis + 1).reduce((a, b) => a * b, 1));
  for (let flat = 0; flat < data.length; flat++) {
    const at = (axis: number) => Math.floor(flat / (strides[axis] as number)) % (masked[axis] as number);
    const isHere = (spec.rows?.includes(at(0)) ?? true) && isAt(at(0), at(positionAxis));
    data[flat] = Number(isHere && (headAxis < 0 || (spec.heads?.includes(at(headAxis)) ?? true)));
  }
  return { hook: spec.at, shape, mask: { shape: masked, data } };
}

/** Values of an intervention's inputs, by their names behind its own. */
function valuesOf(spec: InterventionSpec, site: Site, batch: Batch): Readonly<Record<string, Numbers>> {
  const { shape, mask } = site;
  const scaled = (by: number): Numbers => ({ shape: mask.shape, data: Float32Array.from(mask.data, (on) => on * by) });
  const named = (name: string): Numbers => {
    const found = batch.tensors[name];
    if (found !== undefined) return wholeOf(name, found);
    const got = Object.keys(batch.tensors).join(", ") || "none";
    throw new IroriError("not-found", {
      what: `${site.hook}: there is no tensor "${name}"`,
      got,
      next: "hand it in among the tensors (irori: --tensors FILE)",
    });
  };
  const vector = (given: string | readonly number[], isUnit: boolean): Numbers =>
    vectorOf(
      typeof given === "string" ? named(given) : { shape: [given.length], data: Float32Array.from(given) },
      site,
      isUnit,
    );
  switch (spec.do) {
    case "zero":
      return { mask };
    case "set": {
      const value =
        typeof spec.value === "number" ? { shape: [], data: Float32Array.of(spec.value) } : named(spec.value);
      return batch.isOpen && hasOwnPlaces(value, site)
        ? placed(value, site, batch)
        : { mask, value: { shape, data: broadcast(value, site) } };
    }
    case "mean":
      return { mask, value: { shape, data: broadcast(meanOf(named(spec.of), site), site) } };
    case "row": {
      const rows = shape[0] as number;
      if (spec.row >= rows)
        throw new IroriError("bad-input", { what: `${site.hook}: row`, got: spec.row, wanted: `0 to ${rows - 1}` });
      return { mask, row: { shape: [rows], data: new BigInt64Array(rows).fill(BigInt(spec.row)) } };
    }
    case "steer":
      return { strength: scaled(spec.strength), vector: vector(spec.vector, false) };
    case "clamp":
      return { mask, target: scaled(spec.target), vector: vector(spec.vector, true) };
  }
}

/** Throws for data that its shape does not fit. */
function wholeOf(name: string, numbers: Numbers): Numbers {
  const wanted = numbers.shape.reduce((a, b) => a * b, 1);
  if (numbers.data.length === wanted) return numbers;
  throw new IroriError("bad-input", {
    what: `the tensor "${name}" of shape [${numbers.shape}]`,
    got: `${numbers.data.length} numbers`,
    wanted,
  });
}

/** Whether values come for each token of a text: [1 or B, T, …], as they were captured. */
const hasOwnPlaces = (value: Numbers, { shape, hook }: Site): boolean =>
  value.shape.length === shape.length && shape.length > 2 && value.shape[1] !== 1 && !/_(scores|pattern)$/.test(hook);

/** Values by their token's place in the text; behind the last of them nothing is set. */
function placed(value: Numbers, { hook, shape, mask }: Site, { spans }: Batch): Readonly<Record<string, Numbers>> {
  const [rows, length, ...rest] = shape as [number, number, ...number[]];
  const [given, tokens, ...same] = value.shape as [number, number, ...number[]];
  if (same.join() !== rest.join() || (given !== 1 && given !== rows))
    throw new IroriError("bad-input", {
      what: `${hook}: values to set`,
      got: `[${value.shape}]`,
      wanted: `[${shape}]`,
    });
  const width = rest.reduce((a, b) => a * b);
  const masked = mask.data.length / (rows * length);
  const [data, isSet] = [new Float32Array(rows * length * width), Uint8Array.from(mask.data)];
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < length; i++) {
      const place = i - (spans[row] as readonly [number, number])[0];
      const to = row * length + i;
      if (place < 0 || place >= tokens) isSet.fill(0, to * masked, (to + 1) * masked);
      else {
        const from = ((given === 1 ? 0 : row) * tokens + place) * width;
        for (let c = 0; c < width; c++) data[to * width + c] = Number(value.data[from + c]);
      }
    }
  return { mask: { shape: mask.shape, data: isSet }, value: { shape, data } };
}

/** A vector for every row of the batch. */
function vectorOf({ shape, data }: Numbers, site: Site, isUnit: boolean): Numbers {
  const [rows, width] = [site.shape[0] as number, site.shape.at(-1) as number];
  if (data.length !== width)
    throw new IroriError("bad-input", { what: `${site.hook}: a vector`, got: `[${shape}]`, wanted: `[${width}]` });
  const values = Float32Array.from(data as Float32Array);
  const size = isUnit ? Math.hypot(...values) : 1;
  if (size === 0) throw new IroriError("bad-input", { what: `${site.hook}: a vector of length 0 has no direction` });
  return {
    shape: [rows, width],
    data: Float32Array.from({ length: rows * width }, (_, i) => (values[i % width] as number) / size),
  };
}

/** Mean over all axes but the last, and but the heads' where the HookPoint has them. */
function meanOf({ shape, data }: Numbers, site: Site): Numbers {
  const kept = site.shape.length === 4 ? 2 : 1;
  const ends = site.shape.slice(-kept);
  if (shape.slice(-kept).join() !== ends.join())
    throw new IroriError("bad-input", {
      what: `${site.hook}: the tensor whose mean is wanted`,
      got: `[${shape}]`,
      wanted: `[…, ${ends}]`,
    });
  const width = ends.reduce((a, b) => a * b);
  const count = data.length / width;
  const mean = new Float32Array(width);
  for (let i = 0; i < data.length; i++) mean[i % width] = (mean[i % width] as number) + Number(data[i]) / count;
  return { shape: ends, data: mean };
}

/** Values as numpy broadcasts them to the shape at the HookPoint. */
function broadcast({ shape, data }: Numbers, { hook, shape: wanted }: Site): Float32Array {
  const padded = [...wanted.slice(shape.length).map(() => 1), ...shape];
  const fits = shape.length <= wanted.length && padded.every((size, axis) => size === 1 || size === wanted[axis]);
  if (!fits)
    throw new IroriError("bad-input", { what: `${hook}: values to set`, got: `[${shape}]`, wanted: `[${wanted}]` });
  const strides = padded.map((size, axis) => (size === 1 ? 0 : padded.slice(axis + 1).reduce((a, b) => a * b, 1)));
  const out = new Float32Array(wanted.reduce((a, b) => a * b));
  for (let flat = 0; flat < out.length; flat++) {
    let [from, rest] = [0, flat];
    for (let axis = wanted.length - 1; axis >= 0; axis--) {
      const size = wanted[axis] as number;
      from += (rest % size) * (strides[axis] as number);
      rest = Math.floor(rest / size);
    }
    out[flat] = Number(data[from]);
  }
  return out;
}
