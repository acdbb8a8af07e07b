// `irori alias NAME --from MODEL`: a name of one's own, with a system prompt and what answers are like.
// It does not know how answers are drawn.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { type Alias, Store } from "../checkpoint/mod.ts";
import type { Call, Command } from "./command.ts";
import { print, printJson } from "./output.ts";
import { requestArgs, wantedOf } from "./request.ts";
import { settingsOf } from "./settings.ts";

// what an alias keeps is numbers by name: not what is about one text's tokens
const { seed, speculate, logprobs, "logit-bias": biases, "min-tokens": least, ...ways } = requestArgs;
const args = {
  name: { type: "positional", description: "The new name" },
  from: { type: "string", valueHint: "MODEL", description: "The model or source that it stands for" },
  system: { type: "string", valueHint: "TEXT", description: "System message of chats that begin without one" },
  ...ways,
} as const satisfies ArgsDef;

export const alias: Command = { args, run: runAlias };

async function runAlias(call: Call): Promise<undefined> {
  const { args } = call;
  const name = args.needed("name");
  const from = args.text("from");
  if (from === undefined)
    throw new IroriError("bad-input", {
      what: `irori alias ${name}`,
      wanted: "--from MODEL",
      next: "`irori ls` shows the aliases there are",
    });
  const { sampling = {}, stop, maxTokens } = wantedOf(args);
  const numbers = sampling as Readonly<Record<string, number>>;
  const said: Omit<Alias, "format"> = {
    name,
    from,
    ...(args.text("system") !== undefined && { system: args.text("system") }),
    ...(Object.keys(numbers).length > 0 && { sampling: numbers }),
    ...(stop !== undefined && { stop }),
    ...(maxTokens !== undefined && { maxTokens }),
  };
  const store = await Store.open(settingsOf(call).settings.home);
  await store.setAlias(said);
  const made = (await store.aliases()).find((each) => each.name === name);
  const { format: __, ...told } = made ?? { format: 1 };
  if (args.flag("json")) printJson(told);
  else print(`${name} is ${made?.from}${(await store.find(from)) ? "" : ", which the first use fetches"}\n`);
}
