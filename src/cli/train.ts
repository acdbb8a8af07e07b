// `irori train lora MODEL --data F --out FOLDER`: fits a low-rank adapter to texts; peft loads what it writes.
// It does not know how a step is computed.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ArgsDef } from "citty";
import { z } from "zod";
import { type Example, type LoraOptions, LoraTraining, shuffled, type TrainingState } from "../adapt/mod.ts";
import { cancelled, IroriError } from "../base/mod.ts";
import { openCheckpoint, writeSafetensors } from "../checkpoint/mod.ts";
import type { Lease } from "../engine/mod.ts";
import { writeAdapter } from "../hooks/mod.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson, say } from "./output.ts";
import { lend, openEngine } from "./settings.ts";

const args = {
  what: { type: "positional", description: "lora" },
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  data: {
    type: "string",
    valueHint: "x.jsonl",
    description: 'Lines { "text" }, { "prompt", "completion" } or { "messages" } (a chat: its last answer is learned)',
  },
  out: {
    type: "string",
    valueHint: "FOLDER",
    description: "Where the adapter goes; one that was stopped there goes on",
  },
  rank: { type: "string", valueHint: "N", description: "Inner dimension (default 8)" },
  alpha: { type: "string", valueHint: "X", description: "Scale: alpha / rank (default 16)" },
  targets: {
    type: "string",
    valueHint: "A,B",
    description: "Weights to adapt (default: the family's, of llama q_proj,v_proj)",
  },
  rate: { type: "string", valueHint: "X", description: "Learning rate (default 0.001), falling linearly to 0" },
  force: { type: "boolean", description: "Replace an adapter that is there already" },
  epochs: { type: "string", valueHint: "N", description: "Times over the data (default 3)" },
  batch: { type: "string", valueHint: "N", description: "Examples of a step (default 4)" },
  "run-batch": {
    type: "string",
    valueHint: "N",
    description: "Examples of one run; a step adds up several: less memory",
  },
  recompute: { type: "boolean", description: "Compute layers again in the backward pass: less memory, more time" },
  "max-tokens": { type: "string", valueHint: "N", description: "Longer examples are cut (default 512)" },
  validation: { type: "string", valueHint: "X", description: "Share of examples that are only measured (default 0.1)" },
  seed: { type: "string", valueHint: "N", description: "Same seed, same adapter, bit for bit (default 0)" },
} as const satisfies ArgsDef;

export const train: Command = { args, run: runTrain };

/** Between two savings of what is needed to go on. */
const SAVE_STEPS = 50;
const STATE = "training.safetensors";

async function runTrain(call: Call): Promise<undefined> {
  const { args } = call;
  if (args.needed("what") !== "lora")
    throw new IroriError("bad-input", { what: "irori train", got: args.text("what"), wanted: "lora" });
  const [data, out] = [required(args.text("data"), "data"), required(args.text("out"), "out")];
  if (existsSync(join(out, "adapter_config.json")) && !args.flag("force"))
    throw new IroriError("bad-input", {
      what: `${out} holds an adapter`,
      next: "choose another folder, or --force to replace it",
    });
  using stop = listenForStop();
  await using engine = await openEngine(call);
  await using lease = await lend(call, engine, { form: "f32", warm: false, signal: stop.signal });
  const model = await lease.inside();
  const options = optionsOf(call, model.family.loraTargets);
  const seed = options.seed;
  const { maxPositions } = lease.manifest.config;
  const most = args.number("max-tokens", { isWhole: true, min: 2, max: maxPositions }) ?? Math.min(512, maxPositions);
  const examples = await readExamples(data, lease, most);
  const share = args.number("validation", { min: 0, max: 0.9 }) ?? 0.1;
  const held = Math.floor(examples.length * share);
  const order = shuffled(examples, seed);
  const [validation, learned] = [order.slice(0, held), order.slice(held)];
  const data256 = createHash("sha256").update(JSON.stringify(examples)).digest("hex");
  const settings = { ...options, model: lease.model, data: data256, validation: share };
  const state = await readState(out, settings);
  const training = LoraTraining.start(model, options, state);
  const isJson = args.flag("json");
  if (!isJson)
    say(
      `${learned.length} examples to learn, ${held} to measure, ${training.steps(learned.length)} steps, seed ${seed}${state ? `, going on after step ${state.step}` : ""}`,
    );
  const before = state?.validationBefore ?? (held > 0 ? await training.lossOf(validation) : undefined);
  const save = () => saveState(out, { ...training.state, validationBefore: before }, settings);
  let [loss, epoch] = [Number.NaN, -1];
  for await (const step of training.run(learned, stop.signal)) {
    loss = step.loss;
    if (!isJson && (step.epoch !== epoch || step.step % 10 === 0 || step.step === step.steps))
      say(
        `step ${step.step} of ${step.steps}, epoch ${step.epoch + 1}: loss ${step.loss.toFixed(4)}, gradient norm ${step.gradientNorm.toFixed(3)}`,
      );
    epoch = step.epoch;
    if (step.step % SAVE_STEPS === 0) await save();
  }
  if (stop.signal.aborted) {
    await save();
    throw cancelled(`training after step ${training.state.step} (the same command goes on from there)`, stop.signal);
  }
  const after = held > 0 ? await training.lossOf(validation) : undefined;
  // ranks, alphas and modules follow from the changes
  const config = {
    ...{ base_model_name_or_path: lease.model, inference_mode: true, init_lora_weights: true },
    fan_in_fan_out: model.family.isInOut ?? false,
  };
  await writeAdapter(out, { changes: training.changes, config });
  await rm(join(out, STATE), { force: true });
  const result = { out, steps: training.state.step, loss, validationBefore: before, validationAfter: after, seed };
  if (isJson) printJson(result);
  else if (before === undefined || after === undefined) print(`${out}: last loss ${loss.toFixed(4)}\n`);
  else print(`${out}: last loss ${loss.toFixed(4)}, validation loss ${before.toFixed(4)} → ${after.toFixed(4)}\n`);
}

function required(value: string | undefined, name: string): string {
  if (value !== undefined) return value;
  throw new IroriError("bad-input", { what: `irori train lora: --${name} is missing` });
}

function optionsOf({ args }: Call, loraTargets: readonly string[]): LoraOptions {
  const whole = (name: string, fallback: number) => args.number(name, { isWhole: true, min: 1 }) ?? fallback;
  return {
    rank: whole("rank", 8),
    alpha: args.number("alpha", { min: 0 }) ?? 16,
    targets: args.text("targets")?.split(",") ?? loraTargets,
    rate: args.number("rate", { min: 0 }) ?? 1e-3,
    schedule: "linear",
    warmup: 0,
    epochs: whole("epochs", 3),
    batch: whole("batch", 4),
    runBatch: args.number("run-batch", { isWhole: true, min: 1 }),
    isRecomputing: args.flag("recompute"),
    weightDecay: 0.01,
    clip: 1,
    seed: args.number("seed", { isWhole: true, min: 0 }) ?? 0,
  };
}

const message = z.strictObject({ role: z.string(), content: z.string() });
const line = z.union([
  z.strictObject({ text: z.string().min(1) }),
  z.strictObject({ prompt: z.string(), completion: z.string().min(1) }),
  z.strictObject({ messages: z.array(message).min(2) }),
]);
type Line = z.infer<typeof line>;

/** Where an example begins, as answers have it: BOS where the model wants one, or a chat up to its last answer; and what is learned. */
async function partsOf(
  lease: Lease,
  given: Line,
): Promise<{ readonly start: readonly number[]; readonly learned: string }> {
  if ("text" in given) return { start: [], learned: given.text };
  if ("prompt" in given) return { start: await lease.promptIds({ text: given.prompt }), learned: given.completion };
  const last = given.messages.at(-1) as z.infer<typeof message>;
  if (last.role !== "assistant")
    throw new IroriError("bad-input", {
      what: "the last message of a chat to learn",
      got: last.role,
      wanted: "assistant",
    });
  return { start: await lease.promptIds({ messages: given.messages.slice(0, -1) }), learned: last.content };
}

async function readExamples(path: string, lease: Lease, most: number): Promise<Example[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  const examples: Example[] = [];
  const skipped: number[] = [];
  for (const [i, raw] of text.split("\n").entries()) {
    if (raw.trim() === "") continue;
    let parsed: Line;
    try {
      parsed = line.parse(JSON.parse(raw));
    } catch (error) {
      const wanted = '{ "text" }, { "prompt", "completion" } or { "messages": [{ "role", "content" }, …] }';
      throw new IroriError("bad-input", {
        what: `${path}: line ${i + 1}`,
        got: raw.slice(0, 60),
        wanted,
        cause: error,
      });
    }
    const { start, learned } = await partsOf(lease, parsed);
    const rest = start.length > 0 ? lease.tokenize(learned) : await lease.promptIds({ text: learned });
    const whole = [...start, ...rest, ...lease.eosIds.slice(0, 1)]; // an end is learned too
    const learnFrom = Math.max(1, start.length);
    if (most > learnFrom) examples.push({ ids: whole.slice(0, most), learnFrom });
    else skipped.push(i + 1);
  }
  if (skipped.length > 0)
    say(
      `${skipped.length} examples are left out: their prompts alone fill ${most} tokens (line ${skipped[0]} is the first)`,
    );
  if (examples.length > 0) return examples;
  throw new IroriError("bad-input", {
    what: `${path} holds nothing to learn`,
    wanted: "lines with texts of 2 tokens or more",
  });
}

// ---- going on after a stop

interface SavedState extends TrainingState {
  /** Loss on the examples that are only measured, before the first step. */
  readonly validationBefore: number | undefined;
}

/** The adapter as it stands, the optimiser's moments and the settings they belong to: one file, whole or not there. */
async function saveState(out: string, state: SavedState, settings: object): Promise<void> {
  const { step, values, moments, validationBefore } = state;
  const flat = (data: Float32Array) => ({ shape: [data.length], data });
  const json = new TextEncoder().encode(JSON.stringify(settings));
  await mkdir(out, { recursive: true });
  await writeSafetensors(join(out, STATE), {
    settings: { shape: [json.length], data: json },
    step: flat(Float32Array.of(step)),
    ...(validationBefore !== undefined && { validationBefore: flat(Float32Array.of(validationBefore)) }),
    ...Object.fromEntries(values.map((data, i) => [`value.${i}`, flat(data)])),
    ...Object.fromEntries(moments.map((data, i) => [`moment.${i}`, flat(data)])),
  });
}

async function readState(out: string, settings: object): Promise<SavedState | undefined> {
  const path = join(out, STATE);
  if (!existsSync(path)) return undefined;
  await using file = await openCheckpoint(path);
  if (new TextDecoder().decode(await file.read("settings")) !== JSON.stringify(settings))
    throw new IroriError("bad-input", {
      what: `${out} holds a training that was stopped, with other settings`,
      next: "use the same settings, or another folder",
    });
  const all = async (name: string) => {
    const found: Float32Array[] = [];
    for (let i = 0; file.tensors.has(`${name}.${i}`); i++) found.push(await file.readFloat32(`${name}.${i}`));
    return found;
  };
  const before = file.tensors.has("validationBefore") ? await file.readFloat32("validationBefore") : undefined;
  return {
    validationBefore: before?.[0],
    step: (await file.readFloat32("step"))[0] as number,
    values: await all("value"),
    moments: await all("moment"),
  };
}
