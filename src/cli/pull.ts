// `irori pull MODEL`: brings a model's bytes into the store and prepares its forms, so that the first run opens at once.
// It does not know sources or forms.
import type { ArgsDef } from "citty";
import { checkForm, megabytes } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson } from "./output.ts";
import { prepareModel } from "./prepare.ts";
import { showProgress } from "./progress.ts";
import { FORMS, openEngine } from "./settings.ts";
import { aboutStored } from "./stored.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model" },
  form: {
    type: "string",
    valueHint: "blocks|q8|q4|f32",
    description: "The form to prepare (default: the checkpoint's own blocks, or by the model's size)",
  },
  check: {
    type: "boolean",
    description: "Compare the form's perplexity with that of float32, on a text that comes along",
  },
  "accept-terms": { type: "boolean", description: "Accept the terms that the model's licence asks to accept" },
  prepare: { type: "boolean", default: true, description: "Fetch only; the first use prepares" },
} as const satisfies ArgsDef;

export const pull: Command = { args, run: runPull };

async function runPull(call: Call): Promise<undefined> {
  const { args } = call;
  const model = args.needed("model");
  const form = args.choice("form", FORMS);
  using stop = listenForStop();
  const { signal } = stop;
  await using engine = await openEngine(call);
  {
    using progress = showProgress(args.flag("json"));
    const options = { form, signal, onProgress: progress.onProgress };
    await engine.pull(model, options);
    if (args.flag("prepare")) await prepareModel(engine, model, form, { signal, onProgress: progress.onProgress });
  }
  const check = args.flag("check") ? await checkForm(engine, model, { form, signal }) : undefined;
  const stored = await engine.store.pull(model); // by the name it has now
  const about = await aboutStored(engine.store, stored);
  if (args.flag("json")) {
    printJson({ ...about, ...(check && { check }) });
    return;
  }
  const forms = about.forms.map(({ form, bytes }) => `${form} ${megabytes(bytes)}`).join(", ") || "nothing yet";
  const license = about.license === undefined ? "licence not told by the source" : `licence ${about.license}`;
  print(`${about.name}: ${megabytes(about.bytes)}, ${license}, prepared: ${forms}\n`);
  if (check === undefined) return;
  const { tokens, perplexity, f32Perplexity } = check;
  const more = 100 * (perplexity / f32Perplexity - 1);
  const figures = `${perplexity.toFixed(3)} as ${check.form}, ${f32Perplexity.toFixed(3)} as f32`;
  print(`perplexity of a text of ${tokens} tokens: ${figures} (${more < 0 ? "" : "+"}${more.toFixed(2)} %)\n`);
}
