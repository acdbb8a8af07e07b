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
  /** Of a model that was damaged and whose repair was asked for: whether it is whole now. */
  readonly isRepaired?: boolean;
}

const isDamaged = (parts: readonly Verified[]): boolean => parts.some(({ damage }) => damage !== undefined);

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
      const told = { name: model.name, parts };
      if (!isDamaged(parts) || !args.flag("repair")) models.push(told);
      else {
        await repair(engine, model, parts, options);
        models.push({ ...told, isRepaired: !isDamaged(await verifyModel(engine, model, options)) });
      }
    }
  }
  const isWhole = models.every(({ parts, isRepaired = false }) => isRepaired || !isDamaged(parts));
  if (isJson) printJson({ isWhole, models });
  else for (const model of models) print(linesOf(model));
  return isWhole ? undefined : exitCodeOf("bad-file");
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
    else if (!model.isInPlace) await engine.pullAgain(model, options); // whoever changed a file in place may have meant to
  }
}

function linesOf({ name, parts, isRepaired }: Told): string {
  const told = parts.map(({ part, damage }) => `  ${part}: ${damage === undefined ? "as it was written" : damage}\n`);
  const repaired = "  what was damaged is gone, and fetched, or made when it is next wanted\n";
  const left = "  not repaired: a file in place was changed (`irori rm` and `pull` take it as it is now)\n";
  return `${name}\n${told.join("")}${isRepaired === undefined ? "" : isRepaired ? repaired : left}`;
}
