// `irori import F`: brings in a model that `irori export` wrote; needs no network.
// It does not know the file's layout.
import type { ArgsDef } from "citty";
import { importModel } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { openEngine, termsOf } from "./settings.ts";
import { aboutStored } from "./stored.ts";

const args = {
  file: { type: "positional", description: "The file that `irori export` wrote" },
  "accept-terms": { type: "boolean", description: "Accept the terms that the model's licence asks to accept" },
} as const satisfies ArgsDef;

export const importFile: Command = { args, run: runImport };

async function runImport(call: Call): Promise<undefined> {
  const { args } = call;
  const file = args.needed("file");
  using stop = listenForStop();
  await using engine = await openEngine(call);
  using progress = showProgress(args.flag("json"));
  const imported = await importModel(engine, file, {
    ...{ signal: stop.signal, onProgress: progress.onProgress },
    acceptsTerms: termsOf(args),
  });
  progress[Symbol.dispose]();
  const { model, forms, left } = imported;
  if (args.flag("json")) {
    printJson({ ...(await aboutStored(engine.store, model)), imported: forms, left });
    return;
  }
  for (const { form, why } of left) say(`the form ${form} is made anew when it is wanted: ${why}`);
  print(`${model.name} is here${forms.length > 0 ? `, prepared as ${forms.join(", ")}` : ""}\n`);
}
