// `irori ls`: the models of the store.
// It does not know models' insides.
import type { ArgsDef } from "citty";
import { catalog, Store } from "../checkpoint/mod.ts";
import { megabytes } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson, say } from "./output.ts";
import { settingsOf } from "./settings.ts";
import { aboutEntry, aboutStored } from "./stored.ts";

const args = {
  catalog: { type: "boolean", description: "The models of the catalog instead: what `irori pull NAME` can fetch" },
} as const satisfies ArgsDef;

export const ls: Command = { args, run: runLs };

async function runLs(call: Call): Promise<undefined> {
  const { args, startUp } = call;
  const store = await Store.open(settingsOf(call).settings.home);
  startUp.mark("store open");
  if (args.flag("catalog")) {
    await listCatalog(store, args.flag("json"));
    return;
  }
  const models = [];
  for (const model of await store.list()) models.push(await aboutStored(store, model));
  const aliases = (await store.aliases()).map(({ format: _, ...alias }) => alias);
  if (args.flag("json")) {
    printJson({ home: store.home, models, aliases });
    return;
  }
  if (models.length + aliases.length === 0) {
    say(`no models in ${store.home}; \`irori pull smollm2-135m\` fetches a small one`);
    return;
  }
  const rows = models.map(({ name, source, bytes, forms, license, usedAt }) => [
    name,
    megabytes(bytes),
    forms.map(({ form, bytes }) => `${form} ${megabytes(bytes)}`).join(", ") || "-",
    usedAt?.slice(0, 10) ?? "never",
    license ?? "-",
    name === source ? "catalog" : source,
  ]);
  if (rows.length > 0) print(columns([["NAME", "SIZE", "PREPARED", "LAST USE", "LICENSE", "SOURCE"], ...rows], [1]));
  if (aliases.length > 0) print(columns([["ALIAS", "MODEL"], ...aliases.map(({ name, from }) => [name, from])]));
}

async function listCatalog(store: Store, isJson: boolean): Promise<void> {
  const models = [];
  for (const entry of catalog)
    models.push({ ...aboutEntry(entry), isPulled: (await store.find(entry.name)) !== undefined });
  if (isJson) {
    printJson({ models });
    return;
  }
  const rows = models.map(({ name, bytes, license, isPulled, description }) => [
    ...[name, megabytes(bytes), isPulled ? "is here" : "", license, description],
  ]);
  print(columns([["NAME", "SIZE", "", "LICENSE", "WHAT IT IS"], ...rows], [1]));
}
