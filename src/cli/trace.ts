// `irori trace MODEL`: a run over token ids from a file with the model's inside open; what was asked for goes into a file.
// It does not know how it is computed.
import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { writeSafetensors } from "../checkpoint/mod.ts";
import type { NotFinite, TraceRequest } from "../engine/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import { numberOf } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { insideArgs, readInside, readTensors } from "./inside.ts";
import { columns, listenForStop, print, printJson } from "./output.ts";
import { lend, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  input: {
    type: "string",
    valueHint: "in.safetensors",
    description: "input_ids [B,T]; attention_mask, position_ids if any",
  },
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
  if (!args.flag("hooks"))
    for (const name of args.flag("finite") ? ["input"] : ["input", "out"]) needed(args.text(name), name);
  const isCheck = args.flag("finite");
  const grad = args.text("grad");
  if (grad !== undefined && grad !== "loss")
    throw new IroriError("bad-input", { what: "--grad", got: grad, wanted: "loss" });
  const count = args.number("generate", { isWhole: true, min: 1 });
  if (!args.flag("hooks") && !isCheck) await writable(args.text("out") as string);
  const request = args.flag("hooks")
    ? undefined
    : await readRequest(args.text("input") as string, call, grad === "loss");
  using stop = listenForStop();
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { form: "f32", warm: false, signal: stop.signal });
  if (request === undefined) {
    const names = await lease.hookPoints();
    if (args.flag("json")) printJson({ hookPoints: names });
    else print(`${names.join("\n")}\n`);
    return;
  }
  if (isCheck) return tell(await lease.findNotFinite(request), args.flag("json"));
  const results: Record<string, Numbers> = { ...(await lease.trace(request)) };
  if (count !== undefined) {
    const made = await lease.traceGreedy(request, count);
    results.greedy = { shape: [made.length, count], data: BigInt64Array.from(made.flat(), BigInt) };
  }
  const out = args.text("out") as string;
  await writeSafetensors(out, results);
  const shapes = Object.entries(results).map(([name, { shape }]) => [name, `[${shape}]`]);
  if (args.flag("json"))
    printJson({ out, tensors: Object.fromEntries(Object.entries(results).map(([n, t]) => [n, t.shape])) });
  else print(columns(shapes));
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
async function writable(out: string): Promise<void> {
  await access(dirname(out), constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("io", { what: `${out} cannot be written`, got: error.message, cause: error });
  });
}

function needed(value: string | undefined, name: string): void {
  if (value === undefined) throw new IroriError("bad-input", { what: `irori trace: --${name} is missing` });
}

async function readRequest(path: string, { args }: Call, gradients: boolean): Promise<TraceRequest> {
  const tensors = await readTensors(path);
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
  const list = (name: string) => args.text(name)?.split(/,(?![^{]*\})/);
  const inside = await readInside(args);
  const at = list("at");
  if (at && !gradients) throw new IroriError("bad-input", { what: "--at", wanted: "--grad loss with it" });
  return {
    ids,
    attentionMask: rows("attention_mask"),
    positions: rows("position_ids"),
    types: rows("token_type_ids"),
    outputs: args
      .text("outputs")
      ?.split(",")
      .filter((name) => name !== ""),
    capture: list("capture") ?? [],
    only: list("only")?.map((text) => numberOf("--only", text, { isWhole: true, min: -Infinity })),
    ...inside,
    tensors: { ...tensors, ...inside.tensors },
    gradients: gradients && at ? { at } : gradients,
  };
}
