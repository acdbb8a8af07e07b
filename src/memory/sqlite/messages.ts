// What the two sides of a worker say to each other, and the side that asks. It does not know what the methods do.
import { once } from "node:events";
import { getCompileCacheDir } from "node:module";
import { SHARE_ENV, Worker } from "node:worker_threads";
import { type ErrorCode, type ErrorParts, IroriError } from "../../base/mod.ts";

export interface Request {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

export interface Reply {
  /** Of the request; 0 is the opening. */
  readonly id: number;
  readonly result?: unknown;
  readonly error?: {
    readonly code?: ErrorCode;
    readonly parts?: Omit<ErrorParts, "cause">;
    readonly message?: string;
    readonly stack?: string | undefined;
  };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface Beginning {
  readonly url: string;
  /** Where this process keeps compiled code, if it does: a thread does not inherit it. */
  readonly cache: string | undefined;
  readonly data: unknown;
}

const BEGINNING = `
const { url, cache } = require("node:worker_threads").workerData;
if (cache !== undefined) require("node:module").enableCompileCache(cache);
import(url);
`;

/** A thread that answers requests in the order in which they were sent. It does not keep the process alive by itself. */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #isClosing = false;
  #end: Error | undefined;

  private constructor(url: URL, data: unknown) {
    this.#worker = new Worker(BEGINNING, {
      eval: true,
      env: SHARE_ENV,
      workerData: { url: url.href, cache: getCompileCacheDir(), data } satisfies Beginning,
      // small generations: a store holds little in JavaScript, and a process may have several
      resourceLimits: { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 512, codeRangeSizeMb: 16 },
    });
    this.#worker.on("message", (reply: Reply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#fail(error as Error));
    this.#worker.on("exit", () => this.#fail(new IroriError("io", { what: "the store is closed" })));
  }

  /** Starts the thread and waits for what it says of its opening. */
  static async start(url: URL, data: unknown): Promise<WorkerClient> {
    const client = new WorkerClient(url, data);
    await client.#wait(0);
    return client;
  }

  async ask<T>(method: string, ...args: readonly unknown[]): Promise<T> {
    if (this.#end !== undefined) throw this.#end;
    const id = ++this.#lastId;
    const answer = this.#wait(id);
    this.#worker.postMessage({ id, method, args } satisfies Request);
    return (await answer) as T;
  }

  async close(): Promise<void> {
    if (this.#end !== undefined) return;
    const exit = once(this.#worker, "exit");
    this.#isClosing = true; // the process waits for the end of the thread
    await this.ask("close");
    await exit;
  }

  #wait(id: number): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    if (this.#waiting.size === 0) this.#worker.ref();
    this.#waiting.set(id, { resolve, reject });
    return promise;
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0 && !this.#isClosing) this.#worker.unref();
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(thrown(error));
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }
}

/** As it was on the other side; its stack, for whoever debugs, as the cause. */
function thrown({ code, parts, message, stack }: NonNullable<Reply["error"]>): Error {
  const cause = new Error("in the store's thread");
  if (stack !== undefined) cause.stack = stack;
  return code && parts ? new IroriError(code, { ...parts, cause }) : new Error(message, { cause });
}

/** The file of a thread beside this one: TypeScript in a checkout, JavaScript in the package. */
export const threadFile = (name: string): URL => new URL(`./${name}${import.meta.url.slice(-3)}`, import.meta.url);
