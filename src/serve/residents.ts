// The models that are open: loaded when first asked for, once for any number of callers, with every load told as an event; where
// not all fit, those give way that cost least, in groups. It does not know requests, lanes or how much fits (residency.ts does).
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import type { Host, ModelFacts } from "./host.ts";
import { type Budget, type HeldModel, itemsOf, NoRoomError, planResidency, type ResidencyItem } from "./residency.ts";

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
  /** Calls later; gives what ends that. */
  readonly after: (ms: number, then: () => void) => () => void;
  readonly onLoad: (load: Load) => void;
  /** Told of a model that gives way, or that somebody closes. */
  readonly onUnload?: ((unload: Pick<Load, "model" | "cause">) => void) | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** What all models may take together; asked once, before the first is opened. */
  readonly budget: () => Promise<Budget>;
  /** Tokens of a model's answers together that room is kept for; less where its context is shorter. */
  readonly context: number;
  /** Models that never give way. */
  readonly pinned: readonly string[];
  /** Milliseconds that requests for a model wait at most while others for an open one go on coming. */
  readonly mostSwitchWaitMs: number;
  /** A model that is not pinned closes when nobody has used it for so long. Default: it stays. */
  readonly closeAfterMs?: number | undefined;
}

interface Entry {
  readonly model: string;
  readonly items: readonly ResidencyItem[];
  readonly bytes: number;
  readonly facts: Promise<ModelFacts>;
  /** Undefined while it loads. */
  opened: ModelFacts | undefined;
  load: Load | undefined;
  users: number;
  lastUsed: number;
  /** Others waited too long for its room: who asks for it now waits behind them. */
  isDraining: boolean;
  stopClosing: () => void;
}

/** Requests that wait for one model to be opened. */
interface Group {
  readonly model: string;
  readonly cause: LoadCause | undefined;
  readonly since: number;
  /** How many wait: they all use it as soon as it loads. */
  callers: number;
  facts: ModelFacts | undefined;
  readonly entry: PromiseWithResolvers<Entry>;
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
  readonly #groups = new Map<string, Group>();
  /** Models that are being closed. */
  readonly #closing = new Map<string, Promise<void>>();
  /** Models that were open once, and why they are not any more. */
  readonly #gone = new Map<string, LoadCause>();
  readonly #loads = new Map<LoadCause, number>();
  #budget: Promise<Budget> | undefined;
  #stopWaiting: () => void = () => undefined;

  constructor(options: ResidentsOptions) {
    this.#options = options;
    options.host.onReload = (model, ms) => this.#count({ model, cause: "crash", ms });
  }
  #count(load: Load): void {
    this.#loads.set(load.cause, (this.#loads.get(load.cause) ?? 0) + 1);
    this.#options.onLoad(load);
  }

  /** A model, loaded where it is not open. Throws "no-room" with its plan where it cannot be. */
  async use(model: string, signal?: AbortSignal, asked?: LoadCause): Promise<InUse> {
    const known = this.#entries.get(model);
    const entry = known !== undefined && !known.isDraining ? known : undefined;
    const wasOpen = entry?.opened !== undefined;
    const held = entry === undefined ? await this.#queued(model, signal, asked) : this.#enter(entry);
    try {
      const facts = await held.facts;
      if (signal?.aborted) throw cancelled(`opening ${model}`, signal);
      return { facts, load: wasOpen ? undefined : held.load, [Symbol.dispose]: () => this.#leave(held) };
    } catch (error) {
      this.#leave(held);
      throw error;
    }
  }
  #enter(entry: Entry): Entry {
    entry.users++;
    entry.stopClosing();
    return entry;
  }
  #leave(entry: Entry): void {
    entry.users--;
    entry.lastUsed = this.#options.now();
    if (entry.users > 0) return;
    const { closeAfterMs, after, pinned } = this.#options;
    if (closeAfterMs !== undefined && !pinned.includes(entry.model))
      entry.stopClosing = after(closeAfterMs, () => {
        if (entry.users === 0 && this.#entries.get(entry.model) === entry) this.#close(entry, "evicted");
      });
    this.#pump();
  }

  /** Waits with all others who want this model until it may be opened; the caller counts as a user then. */
  async #queued(model: string, signal: AbortSignal | undefined, cause: LoadCause | undefined): Promise<Entry> {
    const group = this.#groups.get(model) ?? this.#group(model, cause);
    group.callers++;
    const gone = Promise.withResolvers<never>();
    const leave = () => gone.reject(cancelled(`opening ${model}`, signal));
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
    try {
      return await Promise.race([group.entry.promise, gone.promise]);
    } catch (error) {
      // who leaves when the model is there already is none of its users
      if (this.#groups.get(model) === group) {
        group.callers--;
        if (group.callers === 0) {
          this.#groups.delete(model);
          this.#pump();
        }
      } else group.entry.promise.then((entry) => this.#leave(entry)).catch(() => undefined); // told to those who wait
      throw error;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }
  #group(model: string, cause: LoadCause | undefined): Group {
    const { host, now, onProgress } = this.#options;
    const entry = Promise.withResolvers<Entry>();
    entry.promise.catch(() => undefined); // told to those who wait
    const group: Group = { model, cause, since: now(), callers: 0, facts: undefined, entry };
    this.#groups.set(model, group);
    this.#budget ??= this.#options.budget();
    const measuring = Promise.all([this.#budget, host.measure(model, onProgress ? { onProgress } : {})]);
    measuring.then(
      ([budget, facts]) => {
        group.facts = facts;
        this.#known = budget;
        this.#pump();
      },
      (error: unknown) => this.#refuse(group, error),
    );
    return group;
  }
  #known: Budget | undefined;

  #refuse(group: Group, error: unknown): void {
    if (this.#groups.get(group.model) === group) this.#groups.delete(group.model);
    group.entry.reject(error);
  }

  /** Opens what may be opened, those who wait longest first. One synchronous step: two never take the same room. */
  #pump(): void {
    const budget = this.#known;
    if (budget === undefined) return;
    const { now, after, mostSwitchWaitMs, context } = this.#options;
    this.#stopWaiting();
    for (const entry of this.#entries.values()) entry.isDraining = false; // said anew below
    for (const group of [...this.#groups.values()]) {
      if (group.facts === undefined) continue;
      const open = this.#entries.get(group.model);
      if (open !== undefined) {
        // those who waited for its room have left
        open.users += group.callers;
        open.stopClosing();
        this.#groups.delete(group.model);
        group.entry.resolve(open);
        continue;
      }
      const want = { facts: group.facts, context: Math.min(context, group.facts.context) };
      const plan = planResidency({ held: this.#held() }, want, budget);
      const { verdict } = plan;
      if (verdict.type === "refused") this.#refuse(group, new NoRoomError(plan, budget));
      else if (verdict.type === "fits") {
        for (const model of verdict.evict) this.#close(this.#entries.get(model) as Entry, "evicted");
        this.#groups.delete(group.model);
        group.entry.resolve(this.#begin(group, itemsOf(want)));
      } else {
        const leftMs = group.since + mostSwitchWaitMs - now();
        if (leftMs > 0) this.#stopWaiting = after(leftMs, () => this.#pump());
        else for (const model of verdict.waitFor) (this.#entries.get(model) as Entry).isDraining = true;
        return; // nobody who came later takes the room that it waits for
      }
    }
  }
  #held(): readonly HeldModel[] {
    const { now, pinned } = this.#options;
    return [...this.#entries.values()].map(({ model, bytes, users, lastUsed, load }) => ({
      ...{ model, bytes, users, isPinned: pinned.includes(model) },
      ...{ idleMs: users > 0 ? 0 : now() - lastUsed, loadMs: load?.ms ?? 0 },
    }));
  }

  #begin({ model, callers, cause: asked }: Group, items: readonly ResidencyItem[]): Entry {
    const { host, now, onProgress } = this.#options;
    const cause = asked ?? this.#gone.get(model) ?? "first";
    const closing = [...this.#closing.values()];
    const loading = Promise.all(closing).then(async () => {
      const start = now();
      const facts = await host.load(model, onProgress ? { onProgress } : {});
      entry.load = { model, cause, ms: now() - start };
      entry.opened = facts;
      this.#count(entry.load);
      return facts;
    });
    const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
    const entry: Entry = {
      ...{ model, items, bytes, facts: loading, opened: undefined, load: undefined, users: callers },
      ...{ lastUsed: now(), isDraining: false, stopClosing: () => undefined },
    };
    this.#entries.set(model, entry);
    loading.catch(() => {
      if (this.#entries.get(model) === entry) this.#entries.delete(model); // told to those who wait
      this.#pump();
    });
    return entry;
  }

  #close(entry: Entry, cause: LoadCause): Promise<void> {
    const { model } = entry;
    entry.stopClosing();
    this.#entries.delete(model);
    this.#gone.set(model, cause);
    this.#options.onUnload?.({ model, cause });
    const closing = this.#options.host.unload(model).finally(() => {
      if (this.#closing.get(model) === closing) this.#closing.delete(model);
    });
    closing.catch(() => undefined); // told to whoever waits for its room
    this.#closing.set(model, closing);
    return closing;
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
    readonly isPinned: boolean;
    /** Its plan, item by item. */
    readonly items: readonly ResidencyItem[];
    readonly load: Load | undefined;
  }[] {
    const { now, pinned } = this.#options;
    return [...this.#entries.values()].flatMap(({ model, opened, users, lastUsed, items, load }) => {
      const idleMs = users > 0 ? 0 : now() - lastUsed;
      return opened ? [{ model, facts: opened, users, idleMs, isPinned: pinned.includes(model), items, load }] : [];
    });
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
    await this.#close(entry, cause);
  }
}
