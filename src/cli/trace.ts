// `irori trace MODEL`: a run over token ids from a file with the model's inside open; what was asked for goes into a file.
// It does not know how it is computed.
import { access, constants, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint, writeSafetensors } from "../checkpoint/mod.ts";
import type { TraceRequest } from "../engine/mod.ts";
import { type InterventionSpec, type Numbers, readAdapter, readInterventionSpecs } from "../hooks/mod.ts";
import type { Call, Command } from "./command.ts";
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
  interventions: { type: "string", valueHint: "spec.json", description: "What to change inside (docs/hooks.md)" },
  adapter: { type: "string", valueHint: "FOLDER", description: "A LoRA adapter in peft's files, applied" },
  grad: { type: "string", valueHint: "loss", description: "The loss, and its gradient by every parameter" },
  generate: { type: "string", valueHint: "N", description: "N greedy tokens after each row, as `greedy`" },
  hooks: { type: "boolean", description: "Only list the model's HookPoints" },
} as const satisfies ArgsDef;

export const trace: Command = { args, run: runTrace };

async function runTrace(call: Call): Promise<undefined> {
  const { args } = call;
  if (!args.flag("hooks")) for (const name of ["input", "out"]) needed(args.text(name), name);
  const grad = args.text("grad");
  if (grad !== undefined && grad !== "loss")
    throw new IroriError("bad-input", { what: "--grad", got: grad, wanted: "loss" });
  const count = args.number("generate", { isWhole: true, min: 1 });
  if (!args.flag("hooks")) await writable(args.text("out") as string);
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
  const [specs, adapter] = [args.text("interventions"), args.text("adapter")];
  return {
    ids,
    attentionMask: rows("attention_mask"),
    positions: rows("position_ids"),
    types: rows("token_type_ids"),
    outputs: args
      .text("outputs")
      ?.split(",")
      .filter((name) => name !== ""),
    capture: args.text("capture")?.split(/,(?![^{]*\})/) ?? [],
    interventions: specs === undefined ? [] : await readSpecs(specs),
    tensors,
    adapter: adapter === undefined ? undefined : await readAdapter(adapter),
    gradients,
  };
}

async function readTensors(path: string): Promise<Record<string, Numbers>> {
  await using file = await openCheckpoint(path);
  const all: Record<string, Numbers> = {};
  // ids and masks are small whole numbers, which float32 holds exactly
  for (const [name, { shape }] of file.tensors) all[name] = { shape, data: await file.readFloat32(name) };
  return all;
}

async function readSpecs(path: string): Promise<readonly InterventionSpec[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  try {
    return readInterventionSpecs(JSON.parse(text));
  } catch (error) {
    if (error instanceof IroriError) throw error;
    throw new IroriError("bad-input", { what: `${path} is not JSON`, got: (error as Error).message, cause: error });
  }
}
