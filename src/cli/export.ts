// `irori export MODEL --out F`: a model and its prepared forms as one file, for machines that reach no network.
// It does not know the file's layout.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { listenForStop, print, printJson } from "./output.ts";
import { showProgress } from "./progress.ts";
import { FORMS, openEngine } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model; fetched where it is not here" },
  out: { type: "string", required: true, valueHint: "F", description: "The file to write; it must not exist" },
  form: {
    type: "string",
    valueHint: "blocks|q8|q4|f32",
    description: "A form to take along, prepared first where it is not here (repeatable; default: all that are here)",
  },
} as const satisfies ArgsDef;

export const exportModel: Command = { args, run: runExport };

async function runExport(call: Call): Promise<undefined> {
  const { args } = call;
  const model = args.needed("model");
  const out = args.text("out");
  if (out === undefined) throw new IroriError("bad-input", { what: `irori export ${model}`, wanted: "--out FILE" });
  const asked = args.texts("form").map((text) => FORMS.find((form) => form === text) ?? text);
  const unknown = asked.find((form) => !FORMS.some((each) => each === form));
  if (unknown !== undefined)
    throw new IroriError("bad-input", { what: "--form", got: unknown, wanted: FORMS.join(" or ") });
  using stop = listenForStop();
  await using engine = await openEngine(call);
  using progress = showProgress(args.flag("json"));
  const options = { signal: stop.signal, onProgress: progress.onProgress };
  const stored = await engine.pull(model, options);
  const here = await engine.store.forms(stored);
  const forms = asked.length > 0 ? asked : here.length > 0 ? here : [await engine.servingForm(stored)];
  for (const form of FORMS) if (forms.includes(form)) await engine.prepare(stored, form, options);
  const { bytes } = await engine.store.exportTo(stored, out, { forms, ...options });
  progress[Symbol.dispose]();
  if (args.flag("json")) printJson({ model: stored.name, out, bytes, forms });
  else
    print(
      `${out}: ${stored.name}, ${megabytes(bytes)}, with ${forms.join(", ")}; \`irori import ${out}\` brings it in\n`,
    );
}
