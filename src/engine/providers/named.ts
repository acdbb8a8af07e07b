// Providers by what a name means (settings/provider.ts): one of this machine, a server, or what stands in for a model.
// Members load when they are wanted: a mock answers before a schema library would be there. It does not know how any works.
import { IroriError } from "../../base/mod.ts";
import type { Provider, ServerSettings } from "../../settings/mod.ts";
import type { Engine, LeaseOptions } from "../engine.ts";
import type { Embedder } from "./embedder.ts";
import type { Generator } from "./generator.ts";
import type { ServerOptions } from "./server-call.ts";

export interface ProviderSetting extends Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType" | "onProgress"> {
  /** Asked for a lease when a model of this machine first answers. */
  readonly engine: Pick<Engine, "lease">;
  /** The key in an environment variable. */
  readonly keyIn: (variable: string) => string | undefined;
}

/** Throws "bad-input" for one that gives vectors alone, or whose key is not there. */
export async function generatorOf(provider: Provider, setting: ProviderSetting): Promise<Generator> {
  const { engine, keyIn, ...leasing } = setting;
  switch (provider.kind) {
    case "mock":
      return (await import("./mock.ts")).mockGenerator(provider.answers);
    case "local":
      return (await import("./local.ts")).localGenerator(engine, provider.model, leasing);
    case "server":
      return (await import("./server-generator.ts")).serverGenerator(serverOptions(provider, keyIn));
    case "hashed":
      throw new IroriError("bad-input", { what: "who answers", got: "hashed", wanted: "a model, a server or a mock" });
  }
}

export async function embedderOf(provider: Provider, setting: ProviderSetting): Promise<Embedder> {
  const { engine, keyIn, ...leasing } = setting;
  switch (provider.kind) {
    case "hashed":
      return (await import("./mock.ts")).hashedEmbedder();
    case "mock":
      return (await import("./mock.ts")).mockEmbedder();
    case "local":
      return (await import("./local.ts")).localEmbedder(engine, provider.model, leasing);
    case "server":
      return (await import("./server-embedder.ts")).serverEmbedder(serverOptions(provider, keyIn));
  }
}

function serverOptions({ keyVariable, ...options }: ServerSettings, keyIn: ProviderSetting["keyIn"]): ServerOptions {
  if (keyVariable === undefined) return options;
  const key = keyIn(keyVariable);
  if (key !== undefined && key !== "") return { ...options, key };
  throw new IroriError("bad-input", {
    what: `the key of the server ${options.url}`,
    got: `no environment variable ${keyVariable}`,
    next: `set ${keyVariable}, or take keyVariable out of the settings`,
  });
}
