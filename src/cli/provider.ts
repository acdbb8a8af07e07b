// The command's MODEL as whoever answers or embeds: a model of this machine, a server or what stands in for one.
// It does not know how they do it.
import {
  type Embedder,
  type Engine,
  embedderOf,
  type Generator,
  generatorOf,
  type ProviderSetting,
} from "../engine/mod.ts";
import { type Provider, providerNamed } from "../settings/mod.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";
import { leaseOf, openEngine, settingsOf } from "./settings.ts";

/** Whom the command's MODEL means. */
export const providerOf = (call: Call): Provider =>
  providerNamed(call.args.needed("model"), settingsOf(call).settings.providers);

/** Whoever answers; the engine behind a model of this machine is open as long as it is. */
export const openGenerator = (call: Call, provider: Provider): Promise<Generator & AsyncDisposable> =>
  opened(call, (setting) => generatorOf(provider, setting));

export const openEmbedder = (call: Call, provider: Provider): Promise<Embedder & AsyncDisposable> =>
  opened(call, (setting) => embedderOf(provider, setting));

async function opened<T extends AsyncDisposable>(
  call: Call,
  make: (setting: ProviderSetting) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  let engine: Promise<Engine> | undefined;
  const progress = stack.use(showProgress(call.args.flag("json")));
  const setting: ProviderSetting = {
    ...leaseOf(call),
    engine: {
      lease: async (model, options) => {
        engine ??= openEngine(call);
        return (await engine).lease(model, options);
      },
    },
    onProgress: progress.onProgress,
    keyIn: (variable) => process.env[variable],
  };
  const made = await make(setting);
  stack.defer(async () => (await engine)?.[Symbol.asyncDispose]());
  stack.use(made);
  const owned = stack.move();
  return { ...made, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
