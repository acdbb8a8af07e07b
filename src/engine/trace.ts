// One run over whole token sequences with the inside open: logits (or an encoder's outputs), captures, interventions, the loss
// and its gradients. Plain data in and out. It does not know names of models or files.
import { IroriError } from "../base/mod.ts";
import {
  type Adapter,
  type InterventionSpec,
  loraValues,
  matchHookPoints,
  type Numbers,
  planInterventions,
  withLora,
} from "../hooks/mod.ts";
import { type Config, type Family, maskOf, type Weights, wholeSequence } from "../models/mod.ts";
import { type Program, Tensor } from "../runtime/mod.ts";
import {
  crossEntropy,
  evaluateDim,
  fuse,
  type Graph,
  gather,
  graph,
  hookPoints,
  input,
  inputsOf,
  reshape,
  type TensorType,
  type Value,
  withGradients,
  withTaps,
} from "../tensor/mod.ts";

export interface TraceRequest {
  /** Token ids of each row, all of one length: [B, T]. */
  readonly ids: readonly (readonly number[])[];
  /** 1 at real tokens, 0 at padding (at one end of a row): [B, T]. Default: all real. */
  readonly attentionMask?: readonly (readonly number[])[] | undefined;
  /** Each token's place in its text: [B, T]. Default: counted from the first real token. */
  readonly positions?: readonly (readonly number[])[] | undefined;
  /** Which text of a pair each token belongs to (token_type_ids): [B, T]. Default: the first. */
  readonly types?: readonly (readonly number[])[] | undefined;
  /** Patterns of HookPoints whose values are wanted. */
  readonly capture?: readonly string[] | undefined;
  readonly interventions?: readonly InterventionSpec[] | undefined;
  /** Tensors that interventions name. */
  readonly tensors?: Readonly<Record<string, Numbers>> | undefined;
  /** The mean next-token cross-entropy over real targets, as `loss`, and `grad.PARAMETER` for every parameter. */
  readonly gradients?: boolean | undefined;
  /** Low-rank changes of the model's weights, as an adapter's folder holds them. */
  readonly adapter?: Adapter | undefined;
  /** Names of model outputs that are wanted; default all: `logits`, or `last_hidden_state` and `pooler_output`. */
  readonly outputs?: readonly string[] | undefined;
}

/** Outputs, captures under their HookPoints' names, loss and gradients. */
export type Traced = Readonly<Record<string, Numbers>>;

export interface TraceModel {
  readonly family: Family;
  readonly config: Config;
  readonly weights: Weights;
  readonly program: (g: Graph) => Promise<Program>;
}

const port = (name: string): Value => input(name, "int64", ["B", "T"]);

/** The model over whole sequences, unhooked; inputs ids, positions and mask, int64 [B, T]. */
function wholeGraph({ family, config, weights }: TraceModel, hasTypes = false): Graph {
  const types = hasTypes ? port("types") : undefined;
  const tokens = wholeSequence(port("ids"), port("positions"), maskOf(port("mask"), family.isCausal), types);
  const hidden = family.trace(config, weights, tokens);
  if (family.head !== undefined) return graph({ logits: family.head.logits(config, weights, hidden) }, [port("ids")]);
  const pooled = family.pool?.(config, weights, hidden);
  return graph({ last_hidden_state: hidden, ...(pooled && { pooler_output: pooled }) }, [port("ids")]);
}

export const trace = (model: TraceModel, request: TraceRequest): Promise<Traced> => traceRows(model, request, false);

/** `isOpen`: the rows are a text and what was made behind it. */
async function traceRows(model: TraceModel, request: TraceRequest, isOpen: boolean): Promise<Traced> {
  const rows = checkedRows(model, request);
  const changes = request.adapter?.changes ?? [];
  const { types } = request;
  const whole = withLora(wholeGraph(model, types !== undefined), ADAPTER, changes);
  if (types?.flat().some((type) => type !== 0) && !inputsOf(whole).some(({ name }) => name === "types"))
    throw new IroriError("bad-input", {
      what: `a ${model.family.name} has no kinds of text`,
      got: "token types other than 0",
    });
  const captures = matchHookPoints(whole, request.capture ?? []);
  const outputs = wantedOutputs(whole, request);
  const spans = rows.mask.map(spanOf);
  const batch = {
    dims: { B: rows.ids.length, T: rows.ids[0]?.length ?? 0 },
    spans,
    isOpen,
    tensors: request.tensors ?? {},
  };
  const { graph: changed, inputs } = planInterventions(whole, request.interventions ?? [], batch);
  const tapped = withTaps(changed, captures);
  const wanted = graph(
    Object.fromEntries(
      Object.entries(tapped.outputs).filter(([name]) => captures.includes(name) || outputs.includes(name)),
    ),
    tapped.inputs,
  );
  const targets = request.gradients ? targetsOf(rows.ids, rows.mask) : undefined;
  const final = targets ? withLoss(model, wanted, tapped) : wanted;
  const all: Record<string, Numbers> = {
    ...inputs,
    ...loraValues(ADAPTER, changes),
    ...(types && { types: integers(types) }),
    ...{ ids: integers(rows.ids), positions: integers(rows.positions), mask: integers(rows.mask) },
    ...(targets && { rows: integer(targets.rows), targets: integer(targets.ids) }),
  };
  return run(await model.program(fuse(final)), final, all);
}

/** In front of the names of an adapter's inputs. */
const ADAPTER = "lora";

function wantedOutputs(whole: Graph, { outputs = Object.keys(whole.outputs), capture = [], gradients }: TraceRequest) {
  const unknown = outputs.find((name) => !(name in whole.outputs));
  if (unknown !== undefined)
    throw new IroriError("bad-input", {
      what: "an output that this model has not",
      got: unknown,
      wanted: Object.keys(whole.outputs).join(", "),
    });
  if (outputs.length + capture.length === 0 && !gradients)
    throw new IroriError("bad-input", {
      what: "nothing is asked of the run",
      wanted: "outputs, captures or gradients",
    });
  return outputs;
}

/** The loss over `rows` of the logits (of B · T) with `targets`, and its gradient by every parameter. */
function withLoss({ family, config, weights }: TraceModel, wanted: Graph, whole: Graph): Graph {
  const logits = whole.outputs.logits;
  if (logits === undefined)
    throw new IroriError("unsupported", { what: `a ${family.name} predicts no tokens: it has no loss` });
  const at = (name: string): Value => input(name, "int64", ["N"]);
  const [batch, length] = logits.shape as [string, string, number];
  const flat = gather(reshape(logits, [`${batch}*${length}`, config.vocabSize]), at("rows"));
  const loss = crossEntropy(flat, at("targets"));
  const parameters = Object.fromEntries(
    [...family.weights(config)].map(([name, shape]) => [name, weights(name, shape)]),
  );
  return withGradients(graph({ ...wanted.outputs, loss }, wanted.inputs), "loss", parameters);
}

/** Results are written by the library into arrays of ours: nothing is copied. */
async function run(program: Program, g: Graph, values: Readonly<Record<string, Numbers>>): Promise<Traced> {
  using owned = new DisposableStack();
  const known = new Set(program.inputs.map(({ name }) => name));
  const inputs: Record<string, Tensor> = {};
  for (const { name, node } of inputsOf(g)) {
    const { shape, data } = values[name] as Numbers;
    const { dtype } = node.types[0] as TensorType;
    if (known.has(name)) inputs[name] = owned.use(Tensor.of(dtype, shape, data as never));
  }
  const [rows, length] = (values.ids as Numbers).shape as [number, number];
  const dims = { B: rows, T: length, N: values.rows?.data.length ?? 0 };
  const outputs = Object.fromEntries(
    Object.entries(g.outputs).map(([name, { shape }]) => {
      const sizes = shape.map((dim) => evaluateDim(dim, dims));
      return [name, owned.use(Tensor.of("float32", sizes))];
    }),
  );
  await program.run(inputs, { outputs });
  return Object.fromEntries(Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, data }]));
}

// ---- rows

type Rows = readonly (readonly number[])[];

function checkedRows({ config }: TraceModel, { ids, attentionMask, positions, types }: TraceRequest) {
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
  const mask = attentionMask ?? ids.map((row) => row.map(() => 1));
  const counted = mask.map((row) => {
    const [start] = spanOf(row);
    return row.map((_, i) => Math.max(0, i - start));
  });
  const far = positions?.flat().find((position) => position < 0 || position >= config.maxPositions);
  if (far !== undefined) throw bad("a position", far, `0 to ${config.maxPositions - 1}`);
  return { ids, mask, positions: positions ?? counted };
}

/** Where a row's text begins and ends (exclusive). */
function spanOf(mask: readonly number[]): readonly [number, number] {
  const [start, end] = [mask.indexOf(1), mask.lastIndexOf(1) + 1];
  const isSpan =
    start >= 0 && mask.slice(start, end).every((one) => one === 1) && mask.every((one) => one === 0 || one === 1);
  if (isSpan) return [start, end];
  throw new IroriError("bad-input", {
    what: "a row of the attention mask",
    got: mask.join(""),
    wanted: "ones in one piece, zeros at one end",
  });
}

/** Positions (of B · T) that have a next real token, and those tokens. */
function targetsOf(ids: Rows, mask: Rows) {
  const found: { readonly row: number; readonly id: number }[] = [];
  ids.forEach((row, r) => {
    row.forEach((_, i) => {
      const isReal = mask[r]?.[i] === 1 && mask[r]?.[i + 1] === 1;
      if (isReal) found.push({ row: r * row.length + i, id: row[i + 1] as number });
    });
  });
  if (found.length === 0)
    throw new IroriError("bad-input", {
      what: "no token has a next one: there is no loss",
      wanted: "rows of 2 tokens or more",
    });
  return { rows: found.map(({ row }) => row), ids: found.map(({ id }) => id) };
}

const integer = (values: readonly number[]): Numbers => ({
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const integers = (rows: Rows): Numbers => ({
  shape: [rows.length, rows[0]?.length ?? 0],
  data: BigInt64Array.from(rows.flat(), BigInt),
});

/**
 * Greedy tokens after each row's text, `count` of them: [B][count]. Interventions stay where the rows of the request have them;
 * those without positions reach the new tokens too.
 */
export async function traceGreedy(model: TraceModel, request: TraceRequest, count: number): Promise<number[][]> {
  const rows = checkedRows(model, request);
  const made: number[][] = [];
  for (const [r, all] of rows.ids.entries()) {
    const [start, end] = spanOf(rows.mask[r] as readonly number[]);
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
      const { logits } = await traceRows(
        model,
        { ids: [text], interventions, tensors, adapter: request.adapter, outputs: ["logits"] },
        true,
      );
      text.push(likeliest((logits as Numbers).data as Float32Array, model.config.vocabSize, r));
    }
    made.push(text.slice(length));
  }
  return made;
}

/** The largest of the last position's logits; throws where one is not finite. */
function likeliest(logits: Float32Array, vocabSize: number, row: number): number {
  const start = logits.length - vocabSize;
  let best = 0;
  for (let id = 0; id < vocabSize; id++) {
    const logit = logits[start + id] as number;
    if (!Number.isFinite(logit))
      throw new IroriError("bad-input", { what: `row ${row}: the logits are not finite`, got: logit });
    if (logit > (logits[start + best] as number)) best = id;
  }
  return best;
}

/** What row `r` alone has of tensors of the whole batch's shape, under names of their own: a mean is still that of the batch. */
function textsOfRow(
  tensors: TraceRequest["tensors"],
  { ids }: { readonly ids: Rows },
  r: number,
  [start, end]: readonly [number, number],
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

/** Names of the model's HookPoints. */
export const traceHookPoints = (model: TraceModel): string[] => hookPoints(wholeGraph(model));
