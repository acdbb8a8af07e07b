// The engine in a child process, as a Host: started, watched, started again with its models open when it dies.
// It does not know lanes or HTTP. Calls in flight when it dies fail with EngineLostError; the server goes on.

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { IroriError } from "../base/mod.ts";
import { EngineLostError } from "./engine-lost.ts";
import type { Host, HostCall, HostEvent, HostRequest, MemoryUse, ModelFacts } from "./host.ts";
import { told } from "./told.ts";
import { type EngineSetting, type FromEngine, fromWire, type Operation, type ToEngine } from "./wire.ts";

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onEvent?: ((event: HostEvent) => void) | undefined;
  readonly onProgress?: ((event: Extract<FromEngine, { type: "progress" }>["event"]) => void) | undefined;
}

/** What an engine makes is soon garbage: V8 lets the room for it grow to 67 MB while a model is opened. */
const YOUNG_HEAP = "--max-semi-space-size=4";

/** An engine that dies sooner than this after its start is not started again at once. */
const YOUNG_MS = 10_000;
const MOST_WAIT_MS = 30_000;

export class ProcessHost implements Host {
  onReload?: Host["onReload"];
  onEngine?: Host["onEngine"];
  readonly #setting: EngineSetting;
  readonly #calls = new Map<number, Call>();
  /** Models that are open, to be opened again. */
  readonly #models = new Set<string>();
  #child: ChildProcess | undefined;
  #ready: Promise<ChildProcess>;
  #nextId = 1;
  #startedAt = 0;
  #waitMs = 0;
  #isClosed = false;

  constructor(setting: EngineSetting) {
    this.#setting = setting;
    this.#ready = this.#start();
    this.#ready.catch(() => undefined); // told to whoever calls
  }

  /** Of the engine's process; undefined while it is not there. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async #start(): Promise<ChildProcess> {
    const name = import.meta.url.endsWith(".ts") ? "./engine-child.ts" : "./engine-child.js";
    const child = fork(fileURLToPath(new URL(name, import.meta.url)), [JSON.stringify(this.#setting)], {
      serialization: "advanced",
      execArgv: [...process.execArgv, YOUNG_HEAP],
    });
    this.#startedAt = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<ChildProcess>();
    child.on("message", (message: FromEngine | { readonly type: "ready" }) => {
      if (message.type !== "ready") this.#take(message);
      else {
        this.#child = child;
        resolve(child);
      }
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      const reason = signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`;
      reject(new EngineLostError(reason));
      this.#lost(reason);
    });
    return promise;
  }

  #take(message: FromEngine): void {
    const call = this.#calls.get(message.id);
    if (call === undefined) return;
    if (message.type === "event") call.onEvent?.(message.event);
    else if (message.type === "progress") call.onProgress?.(message.event);
    else {
      this.#calls.delete(message.id);
      if (message.type === "value") call.resolve(message.value);
      else call.reject(fromWire(message.error));
    }
  }

  #lost(reason: string): void {
    this.#child = undefined;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(new EngineLostError(reason));
    if (this.#isClosed) return;
    const isYoung = performance.now() - this.#startedAt < YOUNG_MS;
    this.#waitMs = isYoung ? Math.min(MOST_WAIT_MS, Math.max(100, this.#waitMs * 2)) : 0;
    this.onEngine?.({ type: "lost", reason, ms: this.#waitMs });
    this.#ready = this.#again(reason, this.#waitMs);
    this.#ready.catch(() => undefined); // told to whoever calls
  }

  /** The engine with the models that it had. */
  async #again(reason: string, waitMs: number): Promise<ChildProcess> {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    const child = await this.#start();
    for (const model of this.#models) {
      const from = performance.now();
      await this.#send(child, "load", [model], {}).catch((error: unknown) => {
        child.kill("SIGKILL"); // its exit begins the next try
        throw error;
      });
      this.onReload?.(model, performance.now() - from);
    }
    this.onEngine?.({ type: "back", reason, ms: performance.now() - start });
    return child;
  }

  /** A call to a child that is there. */
  #send(
    child: ChildProcess,
    operation: Operation | "generate",
    args: readonly unknown[],
    { signal, pause, onEvent, onProgress }: HostCall & Pick<Call, "onEvent" | "onProgress">,
  ): Promise<unknown> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#calls.set(id, { resolve, reject, onEvent, onProgress });
    const tell = (message: ToEngine) => {
      // one that cannot be told has died: its exit fails the call
      if (child.connected) child.send(message, () => undefined);
    };
    tell({ type: "call", id, operation, args });
    const abort = () => tell({ type: "abort", id });
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    const settle = () => tell({ type: pause?.isPaused ? "pause" : "resume", id });
    if (pause?.isPaused) settle();
    const watching = pause?.watch(settle);
    const done = () => {
      signal?.removeEventListener("abort", abort);
      watching?.[Symbol.dispose]();
    };
    promise.then(done, done);
    return promise;
  }

  async #call<T>(
    operation: Operation,
    args: readonly unknown[],
    call: HostCall & Pick<Call, "onProgress"> = {},
  ): Promise<T> {
    if (this.#isClosed) throw new IroriError("bad-input", { what: "the engine was closed" });
    return (await this.#send(await this.#ready, operation, args, call)) as T;
  }

  measure(model: string, { signal, onProgress }: NonNullable<Parameters<Host["measure"]>[1]> = {}) {
    return this.#call<ModelFacts>("measure", [model], { signal, onProgress });
  }
  async load(
    model: string,
    { signal, onProgress }: NonNullable<Parameters<Host["load"]>[1]> = {},
  ): Promise<ModelFacts> {
    const facts = await this.#call<ModelFacts>("load", [model], { signal, onProgress });
    this.#models.add(model);
    return facts;
  }
  async unload(model: string): Promise<void> {
    this.#models.delete(model);
    await this.#call("unload", [model]);
  }
  encode(model: string, prompt: Parameters<Host["encode"]>[1]) {
    return this.#call<Awaited<ReturnType<Host["encode"]>>>("encode", [model, prompt]);
  }
  async embed(
    model: string,
    texts: readonly string[],
    { signal, ...options }: NonNullable<Parameters<Host["embed"]>[2]> = {},
  ) {
    return this.#call<Awaited<ReturnType<Host["embed"]>>>("embed", [model, texts, options], { signal });
  }
  inside() {
    return this.#call<Awaited<ReturnType<Host["inside"]>>>("inside", []);
  }
  hookPoints(model: string) {
    return this.#call<readonly string[]>("hookPoints", [model]);
  }
  captureSizes(model: string, patterns: readonly string[], tokens: number) {
    return this.#call<Readonly<Record<string, number>>>("captureSizes", [model, patterns, tokens]);
  }
  stored() {
    return this.#call<Awaited<ReturnType<Host["stored"]>>>("stored", []);
  }
  async pull(model: string, { signal, onProgress }: NonNullable<Parameters<Host["pull"]>[1]> = {}): Promise<void> {
    await this.#call("pull", [model], { signal, onProgress });
  }
  async remove(model: string): Promise<void> {
    this.#models.delete(model);
    await this.#call("remove", [model]);
  }
  memory(): Promise<MemoryUse> {
    return this.#call<MemoryUse>("memory", []);
  }

  async *generate(model: string, request: HostRequest, call: HostCall = {}): AsyncGenerator<HostEvent, void> {
    const child = await this.#ready;
    yield* told<HostEvent>(call.signal, (onEvent, signal) =>
      this.#send(child, "generate", [model, request], { signal, pause: call.pause, onEvent }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const child = this.#child ?? (await this.#ready.catch(() => undefined));
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.disconnect();
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
    await gone;
    clearTimeout(timer);
  }
}
