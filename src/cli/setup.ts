// `irori setup [PRESET]`: fetches and prepares every model that a preset, or the settings in force, want at hand.
// Broken off it is gone on with where it was. It does not know presets, sources or forms.
import type { ArgsDef } from "citty";
import type { OnProgress } from "../base/mod.ts";
import { catalog } from "../checkpoint/mod.ts";
import { type Engine, megabytes } from "../engine/mod.ts";
import type { NeededModel } from "../settings/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, listenForStop, print, printJson, say } from "./output.ts";
import { prepareModel } from "./prepare.ts";
import { showProgress } from "./progress.ts";
import { openEngine, settingsOf } from "./settings.ts";
import { aboutEntry, aboutStored } from "./stored.ts";

const args = {
  name: {
    type: "positional",
    required: false,
    valueHint: "PRESET",
    description: "Settings by one name (default: those in force; `irori settings presets` lists them)",
  },
  "dry-run": { type: "boolean", description: "Tell what would be fetched, from where and how much; fetch nothing" },
  "accept-terms": { type: "boolean", description: "Accept the terms that a model's licence asks to accept" },
} as const satisfies ArgsDef;

export const setup: Command = { args, run: runSetup };

async function runSetup(call: Call): Promise<undefined> {
  const { args } = call;
  const isJson = args.flag("json");
  const said = args.positional("name");
  const flags = said === undefined ? [] : [{ key: "preset", value: said, from: "irori setup" }];
  const { models, settings } = settingsOf(call, flags);
  await using engine = await openEngine(call);
  const plan = await planOf(engine, models);
  const fetchBytes = plan.reduce((sum, { fetchBytes = 0 }) => sum + fetchBytes, 0);
  const told = { preset: settings.preset, home: engine.store.home, fetchBytes };
  if (args.flag("dry-run")) {
    if (isJson) printJson({ ...told, isDryRun: true, models: plan });
    else print(plan.length === 0 ? `${settings.preset} needs no model\n` : tableOf(plan, fetchBytes));
    return;
  }
  if (!isJson && plan.length > 0) say(tableOf(plan, fetchBytes).trimEnd());
  await bring(call, engine, models);
  const here = [];
  for (const { model, use } of models)
    here.push({ use, ...(await aboutStored(engine.store, await engine.pull(model))) });
  if (isJson) printJson({ ...told, isDryRun: false, models: here });
  else if (here.length === 0) print(`${settings.preset} needs no model: it is ready\n`);
  else print(`${settings.preset} is ready, without network too: ${here.map(({ name }) => name).join(", ")}\n`);
}

/** What a model still needs; sizes of models outside the catalog are told by their source when they are fetched. */
interface Needed extends NeededModel {
  readonly isHere: boolean;
  readonly fetchBytes?: number;
  readonly license?: string;
  readonly sources: readonly string[];
}

async function planOf(engine: Engine, models: readonly NeededModel[]): Promise<Needed[]> {
  const plan: Needed[] = [];
  for (const need of models) {
    const alias = await engine.store.aliasOf(need.model);
    const source = alias?.from ?? need.model;
    const stored = await engine.store.find(source);
    const entry = catalog.find(({ name }) => name === source);
    const about = stored ? await aboutStored(engine.store, stored) : entry && aboutEntry(entry);
    const fetchBytes = stored ? 0 : about?.bytes;
    const license = about?.license;
    plan.push({
      ...need,
      isHere: stored !== undefined,
      ...(fetchBytes !== undefined && { fetchBytes }),
      ...(license !== undefined && { license }),
      sources: about?.sources ?? [source],
    });
  }
  return plan;
}

function tableOf(plan: readonly Needed[], fetchBytes: number): string {
  const rows = plan.map(({ model, use, isHere, forms, license, fetchBytes, sources }) => [
    model,
    use,
    isHere ? "is here" : fetchBytes === undefined ? "to fetch" : megabytes(fetchBytes),
    forms.join(", "),
    license ?? "-",
    sources.map((source) => (source.length > 60 ? `${source.slice(0, 59)}…` : source)).join(", else "),
  ]);
  const table = columns([["MODEL", "FOR", "SIZE", "FORMS", "LICENSE", "FROM"], ...rows], [2]);
  return `${table}${megabytes(fetchBytes)} to fetch\n`;
}

/** One model after the other under one line of progress. */
async function bring(call: Call, engine: Engine, models: readonly NeededModel[]): Promise<void> {
  for (const { model } of models) await engine.requireTerms(model); // all questions first, then nobody needs to be there
  using stop = listenForStop();
  using progress = showProgress(call.args.flag("json"));
  for (const [i, { model, forms }] of models.entries()) {
    const onProgress: OnProgress = (event) =>
      progress.onProgress({ ...event, item: `${event.item ?? model} (model ${i + 1} of ${models.length})` });
    const options = { signal: stop.signal, onProgress };
    await engine.pull(model, options);
    for (const form of forms) await prepareModel(engine, model, form, options);
  }
}
