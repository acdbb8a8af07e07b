// `irori rm MODEL`: removes a model from the store; asks first where a person can answer.
// It does not know what a model's bytes are.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { Store } from "../checkpoint/mod.ts";
import { megabytes } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { print, printJson, say } from "./output.ts";
import { settingsOf } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model" },
  yes: { type: "boolean", alias: "y", description: "Do not ask" },
} as const satisfies ArgsDef;

export const rm: Command = { args, run: runRm };

async function runRm(call: Call): Promise<undefined> {
  const { args, startUp } = call;
  const model = args.needed("model");
  const isJson = args.flag("json");
  const store = await Store.open(settingsOf(call).settings.home);
  startUp.mark("store open");
  if (!isJson && !args.flag("yes") && process.stdin.isTTY && process.stdout.isTTY) await confirm(store, model);
  const { freedBytes } = await store.remove(model);
  if (isJson) printJson({ model, freedBytes });
  else print(`${model} is removed, ${megabytes(freedBytes)} are free again\n`);
}

async function confirm(store: Store, model: string): Promise<void> {
  const found = await store.find(model);
  if (found?.isInPlace) say(`${found.path} itself stays where it is`);
  const prompts = await import("@clack/prompts");
  const answer = await prompts.confirm({ message: `Remove ${model} and its prepared forms?`, initialValue: false });
  if (answer !== true) throw new IroriError("cancelled", { what: `${model} was kept` });
}
