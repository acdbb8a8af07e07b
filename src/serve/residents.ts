// The models that are open: loaded when first asked for, once for any number of callers, with every load told as an event.
// It does not know requests or lanes.
import { IroriError, type OnProgress } from "../base/mod.ts";
import type { Host, ModelFacts } from "./host.ts";

/** Why a model was loaded: nobody had asked for it before, it had given way to another, the engine died, or somebody asked. */
export type LoadCause = "first" | "evicted" | "crash" | "asked";

export interface Load {
  readonly model: string;
  readonly cause: LoadCause;
  readonly ms: number;
}

export interface ResidentsOptions {
  readonly host: Host;
  readonly now: () => number;
  readonly onLoad: (load: Load) => void;
  readonly onProgress?: OnProgress | undefined;
}

interface Entry {
  readonly model: string;
  facts: Promise<ModelFacts>;
  /** Undefined while it loads. */
  opened: ModelFacts | undefined;
  load: Load | undefined;
  users: number;
  lastUsed: number;
}

/** A model while somebody uses it: it stays open until this is disposed of. */
export interface InUse extends Disposable {
  readonly facts: ModelFacts;
  /** The load that this caller waited for; undefined where the model was open. */
  readonly load: Load | undefined;
}

export class Residents {
  readonly #options: ResidentsOptions;
  readonly #entries = new Map<string, Entry>();
  /** Models that were open once, and why they are not any more. */
  readonly #gone = new Map<string, LoadCause>();
  readonly #loads = new Map<LoadCause, number>();

  constructor(options: ResidentsOptions) {
    this.#options = options;
    options.host.onReload = (model, ms) => this.#count({ model, cause: "crash", ms });
  }
  #count(load: Load): void {
    this.#loads.set(load.cause, (this.#loads.get(load.cause) ?? 0) + 1);
    this.#options.onLoad(load);
  }

  /** A model, loaded where it is not open. */
  async use(model: string, signal?: AbortSignal, asked?: LoadCause): Promise<InUse> {
    const known = this.#entries.get(model);
    const entry = known ?? this.#begin(model, asked ?? this.#gone.get(model) ?? "first");
    const wasOpen = entry.opened !== undefined;
    entry.users++;
    try {
      const facts = await entry.facts;
      signal?.throwIfAborted();
      return { facts, load: wasOpen ? undefined : entry.load, [Symbol.dispose]: () => this.#leave(entry) };
    } catch (error) {
      this.#leave(entry);
      throw error;
    }
  }
  #leave(entry: Entry): void {
    entry.users--;
    entry.lastUsed = this.#options.now();
  }

  #begin(model: string, cause: LoadCause): Entry {
    const { host, now, onProgress } = this.#options;
    const start = now();
    const facts = host.load(model, onProgress ? { onProgress } : {});
    const entry: Entry = { model, facts, opened: undefined, load: undefined, users: 0, lastUsed: start };
    this.#entries.set(model, entry);
    entry.facts = facts.then(
      (found) => {
        entry.opened = found;
        entry.load = { model, cause, ms: now() - start };
        this.#count(entry.load);
        return found;
      },
      (error: unknown) => {
        this.#entries.delete(model);
        throw error;
      },
    );
    return entry;
  }

  /** Every load since the start, by its cause. */
  loads(): Readonly<Partial<Record<LoadCause, number>>> {
    return Object.fromEntries(this.#loads);
  }

  isOpen(model: string): boolean {
    return this.#entries.get(model)?.opened !== undefined;
  }

  /** Models that are open. */
  open(): readonly {
    readonly model: string;
    readonly facts: ModelFacts;
    readonly users: number;
    readonly idleMs: number;
  }[] {
    const now = this.#options.now();
    return [...this.#entries.values()].flatMap(({ model, opened, users, lastUsed }) =>
      opened ? [{ model, facts: opened, users, idleMs: users > 0 ? 0 : now - lastUsed }] : [],
    );
  }

  /** Lets a model go that nobody uses. */
  async unload(model: string, cause: LoadCause = "asked"): Promise<void> {
    const entry = this.#entries.get(model);
    if (entry === undefined) throw new IroriError("not-found", { what: `${model} is not loaded` });
    if (entry.users > 0)
      throw new IroriError("bad-input", {
        what: `${model} is in use`,
        got: `${entry.users} requests`,
        next: "wait for them",
      });
    this.#entries.delete(model);
    this.#gone.set(model, cause);
    await this.#options.host.unload(model);
  }
}
