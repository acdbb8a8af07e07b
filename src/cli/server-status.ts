// What a running server says of itself, for `ps` and `top`: the one that is named, or the one of this store.
// It does not know how it is shown.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { serversOf } from "../serve/attach/mod.ts";
import type { ServerStatus } from "../serve/mod.ts";
import type { Call } from "./command.ts";
import { settingsOf } from "./settings.ts";

export const serverArgs = {
  url: { type: "string", valueHint: "URL", description: "The server (default: the one that runs over this store)" },
  key: { type: "string", valueHint: "KEY", description: "The key that it wants (default: the store's own)" },
} as const satisfies ArgsDef;

export interface Address {
  readonly url: string;
  readonly key: string | undefined;
}

/** Throws "not-found" where none is named and none runs here. */
export async function addressOf(call: Call): Promise<Address> {
  const { args } = call;
  const [url, key] = [args.text("url")?.replace(/\/+$/, ""), args.text("key")];
  if (url !== undefined && key !== undefined) return { url, key };
  const { home } = settingsOf(call).settings;
  const found = (await serversOf(home)).find(({ record }) => url === undefined || record.url === url)?.record;
  if (found !== undefined) return { url: found.url, key: key ?? found.key };
  if (url !== undefined) return { url, key };
  throw new IroriError("not-found", {
    what: `no server runs over ${home}`,
    next: "`irori serve` starts one; --url names one elsewhere",
  });
}

export async function statusAt({ url, key }: Address): Promise<ServerStatus> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/irori/status`, { headers }).catch((cause: unknown) => {
    throw new IroriError("io", { what: `nothing answers at ${url}`, next: "`irori serve` starts a server", cause });
  });
  if (!response.ok)
    throw new IroriError("io", { what: `${url} refuses`, got: `${response.status} ${await response.text()}` });
  return (await response.json()) as ServerStatus;
}
