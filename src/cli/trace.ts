// `irori trace MODEL`: a run over token ids from a file with the model's inside open; what was asked for goes into a file.
// It does not know how it is computed.
import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { readSafetensors, writeSafetensors } from "../checkpoint/mod.ts";
import type { NotFinite, TraceRequest } from "../engine/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import { numberOf } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { insideArgs, readInside } from "./inside.ts";
import { columns, listenForStop, print, printJson } from "./output.ts";
import { lend, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  input: {
    type: "string",
    valueHint: "in.safetensors",
    description: "input_ids [B,T]; attention_mask, position_ids if any",
  },
  text: { type: "string", valueHint: "TEXT", description: "A row of this text instead; may be repeated" },
  out: { type: "string", valueHint: "out.safetensors", description: "Where outputs, captures and gradients go" },
  capture: { type: "string", valueHint: "PATTERN[,…]", description: "HookPoints wanted: blocks.*.hook_resid_post" },
  outputs: {
    type: "string",
    valueHint: "NAME[,…]",
    description: "Only these model outputs; empty for none (default all)",
  },
  only: {
    type: "string",
    valueHint: "N[,…]",
    description: "Only these positions of outputs and captures; -1 is the last",
  },
  ...insideArgs,
  grad: { type: "string", valueHint: "loss", description: "The loss, and its gradient by every parameter" },
  at: {
    type: "string",
    valueHint: "PATTERN[,…]",
    description: "With --grad: the gradient by these HookPoints instead",
  },
  finite: { type: "boolean", description: "Only tell where NaN or infinity begins; exit code 1 where it does" },
  generate: { type: "string", valueHint: "N", description: "N greedy tokens after each row, as `greedy`" },
  hooks: { type: "boolean", description: "Only list the model's HookPoints" },
} as const satisfies ArgsDef;

export const trace: Command = { args, run: runTrace };

async function runTrace(call: Call): Promise<number | undefined> {
  const { args } = call;
  const isCheck = args.flag("finite");
  const isList = args.flag("hooks");
  const count = args.number("generate", { isWhole: true, min: 1 });
  const out = isCheck || isList ? undefined : await writable(needed(args.text("out"), "out"));
  if (isCheck && args.text("out") !== undefined)
    throw new IroriError("bad-input", {
      what: "irori trace --finite writes no file",
      got: "--out",
      next: "leave it out",
    });
  const read = isList ? undefined : await readRequest(call);
  using stop = listenForStop();
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { form: "f32", warm: false, signal: stop.signal });
  if (read === undefined) return list(await lease.hookPoints(), args.flag("json"));
  const rows = "texts" in read ? lease.toTokens(read.texts) : read.rows;
  const request: TraceRequest = { ...read.rest, ...rows };
  if (isCheck) return tell(await lease.findNotFinite(request), args.flag("json"));
  const results: Record<string, Numbers> = "texts" in read ? written(rows) : {};
  const asksNothing = request.outputs?.length === 0 && !request.capture?.length && !request.gradients;
  if (!(asksNothing && count !== undefined)) Object.assign(results, await lease.trace(request));
  const made = count === undefined ? [] : await lease.traceGreedy(request, count);
  if (count !== undefined)
    results.greedy = { shape: [made.length, count], data: BigInt64Array.from(made.flat(), BigInt) };
  await writeSafetensors(out as string, results);
  const shapes = Object.fromEntries(Object.entries(results).map(([name, { shape }]) => [name, shape]));
  const texts = "texts" in read ? made.map((ids) => lease.detokenize(ids)) : [];
  const loss = results.loss && { loss: Number(results.loss.data[0]) };
  if (args.flag("json"))
    printJson({
      out,
      tensors: shapes,
      ...loss,
      ...("hasBos" in rows && { hasBos: rows.hasBos }),
      ...(texts.length > 0 && { texts }),
    });
  else {
    print(columns(Object.entries(shapes).map(([name, shape]) => [name, `[${shape}]`])));
    if (loss) print(`loss ${loss.loss.toFixed(4)} nats a token\n`);
    for (const text of texts) print(`${text}\n`);
  }
  return undefined;
}

/** What texts became, beside what they gave. */
const written = ({ ids, attentionMask }: Pick<TraceRequest, "ids" | "attentionMask">): Record<string, Numbers> => {
  const whole = (rows: readonly (readonly number[])[]): Numbers => ({
    shape: [rows.length, rows[0]?.length ?? 0],
    data: BigInt64Array.from(rows.flat(), BigInt),
  });
  return { input_ids: whole(ids), attention_mask: whole(attentionMask ?? []) };
};

function list(hookPoints: readonly string[], isJson: boolean): undefined {
  if (isJson) printJson({ hookPoints });
  else print(`${hookPoints.join("\n")}\n`);
}

function tell(found: NotFinite | undefined, isJson: boolean): number {
  if (isJson) printJson({ found: found ? { ...found, value: String(found.value) } : null });
  else if (found === undefined) print("every weight and every value is finite\n");
  else
    print(
      `${found.kind} ${found.name} holds ${found.value} at [${found.index}], the first in the order of computation\n`,
    );
  return found === undefined ? 0 : 1;
}

/** Nothing is computed that could not be written. */
async function writable(out: string): Promise<string> {
  await access(dirname(out), constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("io", { what: `${out} cannot be written`, got: error.message, cause: error });
  });
  return out;
}

function needed(value: string | undefined, name: string): string {
  if (value !== undefined) return value;
  throw new IroriError("bad-input", { what: `irori trace: --${name} is missing` });
}

type Rows = Pick<TraceRequest, "ids" | "attentionMask" | "positions" | "types">;
type Read = { readonly rest: Omit<TraceRequest, keyof Rows> } & (
  | { readonly rows: Rows }
  | { readonly texts: readonly string[] }
);

async function readRequest({ args }: Call): Promise<Read> {
  const texts = args.texts("text");
  const path = args.text("input");
  if (texts.length > 0 === (path !== undefined))
    throw new IroriError("bad-input", {
      what: "irori trace",
      got: path === undefined ? "neither" : "both",
      wanted: "--input FILE or --text TEXT",
    });
  const grad = args.text("grad");
  if (grad !== undefined && grad !== "loss")
    throw new IroriError("bad-input", { what: "--grad", got: grad, wanted: "loss" });
  const parts = (name: string) => args.text(name)?.split(/,(?![^{]*\})/);
  const at = parts("at");
  if (at && grad === undefined) throw new IroriError("bad-input", { what: "--at", wanted: "--grad loss with it" });
  const tensors = path === undefined ? {} : await readSafetensors(path);
  const inside = await readInside(args);
  const rest = {
    outputs: parts("outputs")?.filter((name) => name !== ""),
    capture: parts("capture") ?? [],
    only: parts("only")?.map((text) => numberOf("--only", text, { isWhole: true, min: -Infinity })),
    ...inside,
    tensors: { ...tensors, ...inside.tensors },
    gradients: grad !== undefined && at ? { at } : grad !== undefined,
  };
  return path === undefined ? { rest, texts } : { rest, rows: rowsOf(path, tensors) };
}

function rowsOf(path: string, tensors: Readonly<Record<string, Numbers>>): Rows {
  const rows = (name: string): number[][] | undefined => {
    const found = tensors[name];
    if (found === undefined) return undefined;
    const [batch = 0, length = 0] = found.shape;
    if (found.shape.length !== 2)
      throw new IroriError("bad-input", { what: `${path}: ${name}`, got: `[${found.shape}]`, wanted: "[B, T]" });
    const all = Array.from(found.data as Float32Array, Number);
    return Array.from({ length: batch }, (_, b) => all.slice(b * length, (b + 1) * length));
  };
  const ids = rows("input_ids");
  if (ids === undefined)
    throw new IroriError("bad-input", { what: `${path} holds no input_ids`, got: Object.keys(tensors).join(", ") });
  return {
    ids,
    attentionMask: rows("attention_mask"),
    positions: rows("position_ids"),
    types: rows("token_type_ids"),
  };
}
