// `irori verify [MODEL]`: every hash of a model, of its prepared forms and of what was packed; of all models where none is named.
// It does not know what is hashed.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { StoredModel } from "../checkpoint/mod.ts";
import { type Engine, type Verified, verifyModel } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { listenForStop, print, printJson } from "./output.ts";
import { showProgress } from "./progress.ts";
import { openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", required: false, description: "Name or source of the model (default: all)" },
  repair: {
    type: "boolean",
    description: "Remove damaged prepared forms, which are made anew, and fetch damaged bytes again",
  },
} as const satisfies ArgsDef;

export const verify: Command = { args, run: runVerify };

interface Told {
  readonly name: string;
  readonly parts: readonly Verified[];
  readonly isRepaired?: boolean;
}

async function runVerify(call: Call): Promise<number | undefined> {
  const { args } = call;
  const isJson = args.flag("json");
  using stop = listenForStop();
  await using engine = await openEngine(call);
  const models: Told[] = [];
  {
    using progress = showProgress(isJson);
    const options = { signal: stop.signal, onProgress: progress.onProgress };
    for (const model of await chosen(engine, args.positional("model"))) {
      const parts = await verifyModel(engine, model, options);
      const isDamaged = parts.some(({ damage }) => damage !== undefined);
      if (isDamaged && args.flag("repair")) await repair(engine, model, parts, options);
      models.push({ name: model.name, parts, ...(isDamaged && args.flag("repair") && { isRepaired: true }) });
    }
  }
  const isWhole = models.every(({ parts }) => parts.every(({ damage }) => damage === undefined));
  if (isJson) printJson({ isWhole, models });
  else for (const model of models) print(linesOf(model));
  return isWhole || args.flag("repair") ? undefined : exitCodeOf("bad-file");
}

async function chosen(engine: Engine, name: string | undefined): Promise<readonly StoredModel[]> {
  if (name === undefined) return await engine.store.list();
  // by its name, also where its bytes are gone or cut
  const source = await engine.store.listed(name);
  if (source !== undefined) return [source];
  throw new IroriError("not-found", {
    what: `${JSON.stringify(name)} is not in the store`,
    next: "`irori ls` shows what is",
  });
}

async function repair(
  engine: Engine,
  model: StoredModel,
  parts: readonly Verified[],
  options: Parameters<Engine["pull"]>[1],
): Promise<void> {
  for (const { part, damage } of parts) {
    if (damage === undefined) continue;
    if (part !== "bytes") await engine.store.removePrepared(model, part);
    else await engine.refetch(model, options);
  }
}

function linesOf({ name, parts, isRepaired }: Told): string {
  const told = parts.map(({ part, damage }) => `  ${part}: ${damage === undefined ? "as it was written" : damage}\n`);
  return `${name}\n${told.join("")}${isRepaired ? "  what was damaged is gone, and made or fetched anew\n" : ""}`;
}
