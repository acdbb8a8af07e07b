// Whether a command's model is answered by a server that runs over the same store, or opened here.
// It does not know what is asked of it.
import type { ArgsDef } from "citty";
import { Attached, announced, type ServerRecord, serversOf } from "../serve/attach/mod.ts";
import type { Call } from "./command.ts";
import { say } from "./output.ts";
import { leaseOf, settingsOf } from "./settings.ts";

export const attachArgs = {
  server: { type: "boolean", default: true, description: "Open the model here although a server has it" },
} as const satisfies ArgsDef;

/** How models compute, as one text: servers and commands that differ in it do not share them. */
export const computesOf = (call: Call): string => {
  const { form, hasInt8Prompts, kvType } = leaseOf(call);
  return JSON.stringify({ form, hasInt8Prompts, kvType });
};

/**
 * The model at a running server of this store, where one has it and computes as the command wants. Undefined: it is to be opened
 * here; where a server runs all the same, a line says why.
 */
export async function attachedTo(call: Call, named = call.args.needed("model")): Promise<Attached | undefined> {
  const { args } = call;
  const { home } = settingsOf(call).settings;
  const [record] = announced(home);
  if (!args.flag("server") || record === undefined) return undefined;
  const model = named.replace(/:latest$/, "");
  const servers = await serversOf(home);
  const fitting = servers.filter(({ record }) => record.computes === computesOf(call));
  const found =
    fitting.find(({ facts }) => facts.open.includes(model)) ??
    fitting.find(({ facts }) => facts.models.includes(model));
  const isQuiet = args.flag("json");
  if (found !== undefined) {
    if (!isQuiet) say(`irori: answered by the server at ${nameOf(found.record)} (--no-server opens ${model} here)`);
    return new Attached(found, model);
  }
  const [other] = servers;
  const why = fitting.length === 0 ? `computes otherwise (${other?.record.computes})` : `has no ${model}`;
  const reason = other === undefined ? `${nameOf(record)} does not answer` : `${nameOf(other.record)} ${why}`;
  if (!isQuiet) say(`irori: the server at ${reason}; opened here`);
  return undefined;
}

export const nameOf = ({ url, pid }: ServerRecord): string => `${url} (process ${pid})`;
