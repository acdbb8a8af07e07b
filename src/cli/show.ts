// `irori show MODEL`: what a model is, what became of its tensors, and the memory it needs. It fetches nothing.
// It does not know how plans are made.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { catalog, type StoredModel } from "../checkpoint/mod.ts";
import { type Engine, type Form, megabytes, type StoredTensor } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, listenForStop, print, printJson } from "./output.ts";
import { FORMS, freeBytes, lend, openEngine } from "./settings.ts";
import { aboutEntry, aboutStored } from "./stored.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model" },
  context: {
    type: "string",
    valueHint: "N",
    description: "Plan the memory for N tokens (default: the model's context)",
  },
  form: {
    type: "string",
    valueHint: "blocks|q8|q4|f32",
    description: "The form to tell of (default: one that is prepared)",
  },
  tensors: { type: "boolean", description: "List every tensor: its shape and how it is stored" },
} as const satisfies ArgsDef;

export const show: Command = { args, run: runShow };

async function runShow(call: Call): Promise<undefined> {
  const { args } = call;
  const name = args.needed("model");
  const isJson = args.flag("json");
  const context = args.number("context", { isWhole: true, min: 1 });
  const form = args.choice("form", FORMS);
  await using engine = await openEngine(call);
  const stored = await engine.store.find(name);
  if (stored === undefined) {
    const entry = catalogEntry(name);
    if (isJson) printJson({ ...entry, isPulled: false });
    else print(`${columns(rowsOf(entry))}not pulled: \`irori pull ${entry.name}\` fetches it\n`);
    return;
  }
  const about = await aboutStored(engine.store, stored);
  const inside = await insideOf(call, engine, { form: form ?? about.forms[0]?.form, context });
  const { tensors, ...facts } = inside;
  const listed = args.flag("tensors") ? { tensors: tensors.map(aboutTensor) } : {};
  if (isJson) printJson({ ...about, isPulled: true, ...facts, ...listed });
  else print(textOf(stored, inside) + (args.flag("tensors") ? tensorTable(inside) : ""));
}

function catalogEntry(name: string) {
  const entry = catalog.find((entry) => entry.name === name.toLowerCase());
  if (entry !== undefined) return aboutEntry(entry);
  throw new IroriError("not-found", {
    what: `${JSON.stringify(name)} is not in the store`,
    wanted: `a name of \`irori ls\`, or of the catalog: ${catalog.map(({ name }) => name).join(", ")}`,
    next: `\`irori pull\` fetches a model`,
  });
}

interface Wanted {
  readonly form: Form | undefined;
  readonly context: number | undefined;
}

async function insideOf(call: Call, engine: Engine, { form, context }: Wanted) {
  using stop = listenForStop();
  await using lease = await lend(call, engine, { form, warm: false, signal: stop.signal });
  const { family, form: shown, config, tensors, weightBytes, weightSha256, report, chatTemplate } = lease.manifest;
  if (context !== undefined && context > config.maxPositions)
    throw new IroriError("bad-input", { what: "--context", got: context, wanted: `at most ${config.maxPositions}` });
  const sizes = Object.values(tensors).map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  const parameters = sizes.reduce((sum, size) => sum + size, 0);
  const plan = lease.plan(context ?? config.maxPositions);
  const hasChat = chatTemplate !== undefined;
  const freeNow = freeBytes();
  return {
    ...{ family, form: shown, parameters, tensors: Object.entries(tensors) },
    hasChat,
    config,
    report,
    weightBytes,
    weightSha256,
    plan,
    freeBytes: freeNow,
  };
}

const rounded = (bits: number) => Number(bits.toFixed(2));

function aboutTensor([name, stored]: readonly [string, StoredTensor]) {
  const { shape } = stored;
  const weights = Math.max(
    1,
    shape.reduce((a, b) => a * b, 1),
  );
  const extents = "values" in stored ? [stored.values] : [stored.codes, stored.scales, stored.mins];
  const bytes = extents.reduce((sum, extent) => sum + (extent?.length ?? 0), 0);
  const format = "values" in stored ? undefined : { ...stored.format, hasMins: stored.mins !== undefined };
  return { name, shape, bytes, bitsPerWeight: rounded((8 * bytes) / weights), ...(format && { format }) };
}

function tensorTable({ tensors }: Awaited<ReturnType<typeof insideOf>>): string {
  const rows = tensors
    .map(aboutTensor)
    .map(({ name, shape, bytes, bitsPerWeight, format }) => [
      `  ${name}`,
      `[${shape.join(", ")}]`,
      format
        ? `${format.bits} bit, ${format.isRotated ? "rotated " : ""}blocks of ${format.block}${format.hasMins ? ", mins" : ""}`
        : "float32",
      `${bitsPerWeight} bits a weight`,
      megabytes(bytes),
    ]);
  return `\ntensors:\n${columns(rows, [4])}`;
}

const rowsOf = (data: object): string[][] =>
  Object.entries(data).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value)]);

function textOf(stored: StoredModel, inside: Awaited<ReturnType<typeof insideOf>>): string {
  const { family, form, parameters, hasChat, config, report, plan } = inside;
  const facts = [
    ["name", stored.name],
    ["source", stored.source],
    ["license", stored.license ?? "not told by the source"],
    ["architecture", `${family}, ${config.layers} layers of ${config.hiddenSize}`],
    ["parameters", parameters < 1e6 ? String(parameters) : `${(parameters / 1e6).toFixed(1)} million`],
    ["vocabulary", `${config.vocabSize.toLocaleString("en")} tokens`],
    ["context", `${config.maxPositions.toLocaleString("en")} tokens`],
    ["chat template", hasChat ? "yes" : "no"],
  ];
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const types = report.map(({ type, tensors, form, isExact, bytes, note, error }) => [
    `  ${type}`,
    `${tensors} tensor${tensors === 1 ? "" : "s"}`,
    `${form}${isExact ? ", exact" : ", with loss"}`,
    megabytes(bytes),
    error ? `${percent(error.whole)} off, ${percent(error.worstBlock)} in the worst block` : (note ?? ""),
  ]);
  const items = plan.items.map(({ name, bytes, isMapped }) => [
    `  ${name}`,
    megabytes(bytes),
    isMapped ? "mapped" : "",
  ]);
  const sum = `  in all ${megabytes(plan.privateBytes)} of its own, ${megabytes(plan.mappedBytes)} mapped`;
  return [
    columns(facts),
    `\ntensors in the form ${form}:\n${columns(types, [3])}`,
    `\nmemory for ${plan.context.toLocaleString("en")} tokens:\n${columns(items, [1])}`,
    `${sum}; ${megabytes(inside.freeBytes)} are free\n`,
  ].join("");
}
