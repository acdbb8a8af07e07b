// A WorkFile in a thread of its own: the same methods, asynchronous. It does not know jobs or summaries.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { IroriError } from "../../base/mod.ts";
import { fromWire, type WiredError } from "../wire.ts";
import type { WorkFile } from "./work-file.ts";

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: WiredError;
}

type Methods = {
  readonly [K in keyof WorkFile]: (...args: Parameters<WorkFile[K]>) => Promise<ReturnType<WorkFile[K]>>;
};

export type WorkStore = Omit<Methods, "close"> & AsyncDisposable;

const METHODS = [
  ..."submit claim renew finish putBack reclaim cancel get list remove counts part keepPart prune".split(" "),
] as (keyof Omit<Methods, "close">)[];

/** Opens or makes a file; its folder must exist. ":memory:" for one that nobody keeps. Throws "bad-file". */
export async function openWorkStore(path: string): Promise<WorkStore> {
  const extension = import.meta.url.slice(-3); // TypeScript in a checkout, JavaScript in the package
  const worker = new Worker(new URL(`./worker${extension}`, import.meta.url), { workerData: { path } });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let lastId = 0;
  let end: Error | undefined;
  const wait = (id: number): Promise<unknown> => {
    const asked = Promise.withResolvers<unknown>();
    waiting.set(id, asked);
    worker.ref();
    return asked.promise;
  };
  const fail = (error: Error) => {
    end ??= error;
    for (const { reject } of waiting.values()) reject(end);
    waiting.clear();
  };
  worker.on("message", ({ id, value, error }: Reply) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) worker.unref(); // it does not keep the process alive by itself
    if (error) asked?.reject(fromWire(error));
    else asked?.resolve(value);
  });
  worker.on("error", (error) => fail(error as Error));
  worker.on("exit", () => fail(new IroriError("io", { what: `${path} is closed` })));
  await wait(0);
  const ask = (method: string, args: readonly unknown[]): Promise<unknown> => {
    if (end !== undefined) return Promise.reject(end);
    const id = ++lastId;
    const answer = wait(id);
    worker.postMessage({ id, method, args });
    return answer;
  };
  const methods = Object.fromEntries(METHODS.map((name) => [name, (...args: unknown[]) => ask(name, args)]));
  return {
    ...(methods as unknown as Omit<Methods, "close">),
    async [Symbol.asyncDispose]() {
      if (end !== undefined) return;
      const exit = once(worker, "exit");
      await ask("close", []);
      worker.ref();
      await exit;
    },
  };
}
