// A step bound to buffers and to the caches of rows: rows take places in it and keep them for as long as they come again.
// It does not know whose turn it is or how a token is chosen.
import { IroriError } from "../base/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import type { Config } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";
import { CHUNK, KvCache, type KvType } from "./kv-cache.ts";
import type { Step } from "./programs.ts";
import { StepBinding } from "./step-binding.ts";
import { StepResults } from "./step-results.ts";

/** What one row brings to a run. */
export interface Feed {
  readonly cache: KvCache;
  readonly ids: readonly number[];
}

/** What a changed step has beside the usual inputs and outputs. */
export interface StepExtras extends Disposable {
  /** Inputs that stay. */
  readonly fixed: Readonly<Record<string, Tensor>>;
  /** Inputs for `count` tokens behind `past` others, over caches of these sizes; theirs until the next step. */
  readonly inputs: (past: number, count: number, caches: KvCache["sizes"]) => Readonly<Record<string, Tensor>>;
  /** Where captures of `count` tokens are written, over caches of these sizes. */
  readonly outputs: (count: number, caches: KvCache["sizes"]) => Readonly<Record<string, Tensor>>;
  /** Captures by HookPoint from what was written there; `caches` as they were before the step. */
  readonly read: (
    outputs: Readonly<Record<string, Tensor>>,
    count: number,
    caches: KvCache["sizes"],
  ) => Readonly<Record<string, Numbers>>;
}

/** Where a run looks: at the token that follows some of its tokens (by their place among all), with a temperature for each. */
export interface Look {
  readonly at: readonly number[];
  readonly temperatures: readonly number[];
}

/** What a step's buffers depend on. */
export interface Bound {
  readonly config: Config;
  readonly kvType?: KvType;
}

export class BoundStep implements Disposable {
  readonly rows: number;
  /** What the last run captured. */
  captured: Readonly<Record<string, Numbers>> = {};
  readonly #step: Step;
  readonly #vocabSize: number;
  readonly #extras: StepExtras | undefined;
  readonly #owned = new DisposableStack();
  readonly #results = new Map<number, StepResults>();
  readonly #places: KvCache[];
  /** Stands where no row does. */
  readonly #nobody: KvCache;
  #ids: Tensor<"int64">;
  #binding: StepBinding | undefined;

  /** @param extras of a step of one row that is changed */
  constructor(step: Step, rows: number, { config, kvType = "f32" }: Bound, extras?: StepExtras) {
    this.rows = rows;
    this.#step = step;
    this.#vocabSize = config.vocabSize;
    this.#extras = extras;
    this.#nobody = this.#owned.use(new KvCache(config, 1, kvType));
    this.#places = new Array<KvCache>(rows).fill(this.#nobody);
    this.#ids = Tensor.of("int64", [rows, 1]);
  }

  /** One token of each of some rows, in any order: the results at each row's token, in the order of the feeds. */
  async together(feeds: readonly Feed[], temperatures: readonly number[], signal?: AbortSignal): Promise<StepResults> {
    const places = this.#seat(feeds.map(({ cache }) => cache));
    this.#ids.data.fill(0n);
    feeds.forEach(({ ids }, i) => {
      this.#ids.data[places[i] as number] = BigInt(ids[0] as number);
    });
    return (await this.#run(feeds, { at: places, temperatures }, signal)) as StepResults;
  }

  /** Tokens of one row, in one run; undefined where it looks nowhere. */
  async alone(feed: Feed, look: Look | undefined, signal?: AbortSignal): Promise<StepResults | undefined> {
    if (this.#places[0] !== feed.cache) this.#take(0, feed.cache);
    const { length } = feed.ids;
    if (this.#ids.shape[1] !== length) {
      this.#ids[Symbol.dispose]();
      this.#ids = Tensor.of("int64", [1, length]);
    }
    feed.ids.forEach((id, i) => {
      this.#ids.data[i] = BigInt(id);
    });
    return this.#run([feed], look, signal);
  }

  /** Gives up the place of a row that does not come again, so that its memory can go. */
  leave(cache: KvCache): void {
    const place = this.#places.indexOf(cache);
    if (place >= 0) this.#take(place, this.#nobody);
  }

  /** The place of each row: its own of before, else one whose row did not come. */
  #seat(caches: readonly KvCache[]): number[] {
    const free = this.#places.flatMap((cache, place) => (caches.includes(cache) ? [] : [place]));
    const places = caches.map((cache) => {
      const own = this.#places.indexOf(cache);
      if (own >= 0) return own;
      const place = free.shift() as number;
      this.#take(place, cache);
      return place;
    });
    for (const place of free) if (this.#places[place] !== this.#nobody) this.#take(place, this.#nobody);
    return places;
  }

  #take(place: number, cache: KvCache): void {
    this.#places[place] = cache;
    if (this.#binding === undefined) return;
    const { inputs, outputs } = cache.ports(place);
    this.#binding.set({ ...inputs, ...outputs });
  }

  async #run(feeds: readonly Feed[], look: Look | undefined, signal?: AbortSignal): Promise<StepResults | undefined> {
    for (const feed of feeds) refuseFull(feed);
    for (const { cache, ids } of feeds) cache.makeRoom(ids.length);
    const results = this.#resultsFor(look?.at.length ?? 1);
    if (look === undefined) results.wanted.data.fill(0n); // the run before may have looked further on than this one goes
    look?.at.forEach((place, i) => {
      const temperature = look.temperatures[i] as number;
      results.wanted.data[i] = BigInt(place);
      results.inverseTemperature.data[i] = temperature > 0 ? 1 / temperature : 1;
    });
    const [{ cache, ids }] = feeds as [Feed];
    using run = new DisposableStack();
    for (const each of feeds) run.use(each.cache.heldByRun());
    run.use(this.#nobody.heldByRun());
    const caches = cache.sizes;
    const inputs = this.#extras?.inputs(cache.length, ids.length, caches) ?? {};
    const outputs = this.#extras?.outputs(ids.length, caches) ?? {};
    for (const tensor of Object.values(outputs)) run.use(tensor);
    const changed = { ...inputs, ...outputs, ids: this.#ids, ...results.inputs, ...results.outputs };
    const sizes = { tokens: ids.length, positions: results.positions };
    if (this.#binding === undefined) {
      const ports = this.#places.map((each, place) => each.ports(place));
      const fixed = Object.assign({}, this.#extras?.fixed, ...ports.flatMap((port) => [port.inputs, port.outputs]));
      this.#binding = this.#owned.use(new StepBinding(this.#step, { ...fixed, ...changed }, sizes));
    } else this.#binding.set(changed, sizes);
    await this.#binding.run({ signal, isHeadWanted: look !== undefined || this.#extras !== undefined });
    this.captured = this.#extras?.read(outputs, ids.length, caches) ?? {};
    for (const feed of feeds) feed.cache.added(feed.ids.length);
    return look && results;
  }

  #resultsFor(positions: number): StepResults {
    const known = this.#results.get(positions);
    if (known !== undefined) return known;
    // of one row, the buffers of the last count are enough; of several, each count comes again and again
    if (this.rows === 1) for (const [count, results] of this.#results) this.#forget(count, results);
    const made = new StepResults(positions, this.#vocabSize);
    this.#results.set(positions, made);
    return made;
  }
  #forget(count: number, results: StepResults): void {
    if (count === 1) return;
    this.#results.delete(count);
    results[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#extras?.fixed ?? {})) tensor[Symbol.dispose]();
    this.#extras?.[Symbol.dispose]();
    for (const results of this.#results.values()) results[Symbol.dispose]();
    this.#ids[Symbol.dispose]();
    this.#owned.dispose();
  }
}

function refuseFull({ cache: { length, context }, ids }: Feed): void {
  if (ids.length > CHUNK)
    throw new IroriError("bad-input", { what: "tokens of one step", got: ids.length, wanted: `at most ${CHUNK}` });
  if (length + ids.length > context)
    throw new IroriError("no-room", {
      what: "the KvCache is full",
      got: `${length} + ${ids.length} tokens`,
      wanted: `at most ${context}`,
    });
}
