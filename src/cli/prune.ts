// `irori prune`: frees what nobody needs; with --keep, also the models that are not to be kept.
// It does not know where things lie.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Pruned, Store, StoredModel } from "../checkpoint/mod.ts";
import { megabytes } from "../engine/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson, say } from "./output.ts";
import { openEngine } from "./settings.ts";

const args = {
  keep: {
    type: "string",
    valueHint: "MODEL|30d",
    description: "Remove all models but these and those used in the last 30 days (h, d, w; repeatable)",
  },
  "dry-run": { type: "boolean", description: "Tell what would go, and remove nothing" },
  yes: { type: "boolean", alias: "y", description: "Do not ask" },
} as const satisfies ArgsDef;

export const prune: Command = { args, run: runPrune };

async function runPrune(call: Call): Promise<undefined> {
  const { args, startUp } = call;
  await using engine = await openEngine(call);
  const { store } = engine;
  startUp.mark("store open");
  const isKept = await keeping(store, args.texts("keep"));
  const plan = await engine.prune({ isKept, isDryRun: true });
  const isDryRun = args.flag("dry-run");
  const isAsked = !args.flag("json") && !args.flag("yes") && process.stdin.isTTY && process.stdout.isTTY;
  if (!isDryRun && isAsked && plan.models.length > 0) await confirm(plan);
  const pruned = isDryRun ? plan : await engine.prune({ isKept });
  const all = [...pruned.models, ...pruned.leftovers];
  const freedBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
  if (args.flag("json")) printJson({ ...pruned, freedBytes, isDryRun });
  else if (all.length === 0) print("nothing to remove\n");
  else print(`${tableOf(pruned)}${megabytes(freedBytes)} ${isDryRun ? "would be" : "are"} free again\n`);
}

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

/** Without --keep every model is kept. */
async function keeping(store: Store, texts: readonly string[]): Promise<(model: StoredModel) => boolean> {
  if (texts.length === 0) return () => true;
  const kept = new Set<string>();
  for (const text of texts) {
    const [, count, unit] = /^(\d+)([hdw])$/.exec(text) ?? [];
    if (count === undefined) kept.add(await keptName(store, text));
    else {
      const since = Date.now() - Number(count) * (UNITS[unit as string] as number);
      for (const model of await store.list())
        if (((await store.lastUse(model)) ?? model.pulledAt) >= since) kept.add(model.name);
    }
  }
  return ({ name }) => kept.has(name);
}

async function keptName(store: Store, text: string): Promise<string> {
  const model = await store.listed(text);
  if (model !== undefined) return model.name;
  throw new IroriError("not-found", {
    what: `--keep ${text}`,
    wanted: "a model of the store, or a time such as 12h, 30d or 8w",
    next: "`irori ls` shows the models",
  });
}

async function confirm({ models }: Pruned): Promise<void> {
  say(`would be removed: ${models.map(({ name }) => name).join(", ")}`);
  const prompts = await import("@clack/prompts");
  const answer = await prompts.confirm({ message: "Remove them?", initialValue: false });
  if (answer !== true) throw new IroriError("cancelled", { what: "nothing was removed" });
}

const KINDS = {
  download: "a download that broke off",
  bytes: "bytes that no model names",
  prepared: "a form of no model",
  pages: "pages of another runtime or CPU",
} as const;

const tableOf = ({ models, leftovers }: Pruned): string =>
  columns(
    [
      ...models.map(({ name, bytes }) => [name, megabytes(bytes), "a model"]),
      ...leftovers.map(({ name, kind, bytes }) => [name.slice(0, 40), megabytes(bytes), KINDS[kind]]),
    ],
    [1],
  );
