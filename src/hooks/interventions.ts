// Interventions as graph rewrites: what is changed at a HookPoint is in the Graph, by how much and where are its inputs.
// A sweep over values, strengths, positions, heads or rows recompiles nothing, and each row of a batch may have its own.
// It does not know models; a HookPoint's value is any float32 [B, …, last].
import { IroriError } from "../base/mod.ts";
import {
  add,
  type Graph,
  gather,
  hookPoints,
  input,
  inputsOf,
  mul,
  reshape,
  rewriteTaps,
  scalar,
  sub,
  sum,
  type Value,
  where,
} from "../tensor/mod.ts";
import { unknownHookPoint } from "./capture.ts";

/**
 * What is done to x at a HookPoint, where its mask is set. Inputs are named `NAME.mask` and so on, NAME being the intervention's.
 * - `zero`: 0.
 * - `set`: `NAME.value`, of x's shape: values of another run (a Patch), a mean, or what is to be held (a Freeze).
 * - `row`: x of row `NAME.row` int64 [B] of the same batch, for each row.
 * - `add`: x + `NAME.strength` · `NAME.vector` (Steer). The strength has the mask's shape and stands for it: 0 leaves x as it is.
 * - `component`: x with its component along the unit vector `NAME.vector` set to `NAME.target`, of the mask's shape: 0 removes it.
 *
 * Masks are bool with x's shape but for a last axis of 1; vectors are float32 [B, last].
 */
export type InterventionKind = "zero" | "set" | "row" | "add" | "component";

export interface Intervention {
  /** In front of its inputs' names; each intervention of a Graph has its own. */
  readonly name: string;
  readonly hook: string;
  readonly kind: InterventionKind;
}

/** The inputs of an intervention over x. */
function changed(x: Value, { name, kind }: Intervention): Value {
  const masked = [...x.shape.slice(0, -1), 1];
  const mask = (): Value => input(`${name}.mask`, "bool", masked);
  // [B, last] → [B, 1 …, last]
  const vector = (): Value => {
    const [rows, last] = [x.shape[0] as number, x.shape.at(-1) as number];
    return reshape(input(`${name}.vector`, "float32", [rows, last]), [
      rows,
      ...x.shape.slice(1, -1).map(() => 1),
      last,
    ]);
  };
  switch (kind) {
    case "zero":
      return where(mask(), scalar(0), x);
    case "set":
      return where(mask(), input(`${name}.value`, "float32", x.shape), x);
    case "row":
      return where(mask(), gather(x, input(`${name}.row`, "int64", [x.shape[0] as number])), x);
    case "add":
      return add(x, mul(input(`${name}.strength`, "float32", masked), vector()));
    case "component": {
      const along = sum(mul(x, vector()), [-1], true);
      const missing = sub(input(`${name}.target`, "float32", masked), along);
      return where(mask(), add(x, mul(missing, vector())), x);
    }
  }
}

/**
 * The Graph with interventions at its HookPoints, in the order of the list where several share one. What is captured at a
 * HookPoint is the value after them. Throws "not-found" for a HookPoint there is none of, "bad-input" for a name used twice.
 */
export function withInterventions(g: Graph, list: readonly Intervention[]): Graph {
  const known = new Set(hookPoints(g));
  const names = new Set<string>();
  const changes = new Map<string, (value: Value) => Value>();
  for (const each of list) {
    if (!known.has(each.hook)) throw unknownHookPoint(each.hook, [...known]);
    if (names.has(each.name))
      throw new IroriError("bad-input", { what: "two interventions have one name", got: each.name });
    names.add(each.name);
    const before = changes.get(each.hook) ?? ((value: Value) => value);
    changes.set(each.hook, (value) => changed(before(value), each));
  }
  return changes.size === 0 ? g : rewriteTaps(g, changes);
}

/** The Graph from HookPoints on: their values are inputs `from.HOOKPOINT`, and what only they need is not computed. */
export function resumeAt(g: Graph, ...hooks: readonly string[]): Graph {
  const known = hookPoints(g);
  const unknown = hooks.find((hook) => !known.includes(hook));
  if (unknown !== undefined) throw unknownHookPoint(unknown, known);
  const given = (hook: string) => (value: Value) => input(`from.${hook}`, "float32", value.shape);
  const resumed = rewriteTaps(g, new Map(hooks.map((hook) => [hook, given(hook)])));
  return { outputs: resumed.outputs, inputs: resumed.inputs.filter(({ node }) => isRead(resumed, node.attrs.name)) };
}
const isRead = (g: Graph, name: unknown): boolean =>
  inputsOf({ outputs: g.outputs, inputs: [] }).some((port) => port.name === name);
