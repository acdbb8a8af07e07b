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
  owning(call, (providers) => providers.generator(provider));

export const openEmbedder = (call: Call, provider: Provider): Promise<Embedder & AsyncDisposable> =>
  owning(call, (providers) => providers.embedder(provider));

async function owning<T extends AsyncDisposable>(call: Call, make: (providers: Providers) => Promise<T>): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const made = await make(stack.use(new Providers(call)));
  const owned = stack.move();
  return { ...made, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Several providers over one engine, which is opened when a model of this machine is first needed. */
export class Providers implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #setting: ProviderSetting;
  #engine: Promise<Engine> | undefined;

  constructor(call: Call) {
    const progress = this.#stack.use(showProgress(call.args.flag("json")));
    this.#stack.defer(async () => (await this.#engine)?.[Symbol.asyncDispose]());
    this.#setting = {
      ...leaseOf(call),
      engine: {
        lease: async (model, options) => {
          this.#engine ??= openEngine(call);
          return (await this.#engine).lease(model, options);
        },
      },
      onProgress: progress.onProgress,
      keyIn: (variable) => process.env[variable],
    };
  }

  async generator(provider: Provider): Promise<Generator> {
    return this.#stack.use(await generatorOf(provider, this.#setting));
  }

  async embedder(provider: Provider): Promise<Embedder> {
    return this.#stack.use(await embedderOf(provider, this.#setting));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
