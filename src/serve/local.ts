// A model behind lanes in this process, without a server: for commands and programs that make summaries. It does not know HTTP.
import { setTimeout as wait } from "node:timers/promises";
import { Answers } from "./answers.ts";
import type { Host } from "./host.ts";
import { DEFAULT_LANES } from "./lane-policy.ts";
import { Lanes } from "./lanes.ts";
import { PLANNED_CONTEXT, RESERVE_BYTES } from "./residency.ts";
import { Residents } from "./residents.ts";
import { answersWriter, keptIn } from "./summaries/answers-writer.ts";
import type { SummarizeOptions } from "./summaries/summarize.ts";
import { after } from "./timers.ts";
import { openWorkStore } from "./work/work-store.ts";

export interface SummarizerOptions {
  /** Disposed of with what is made of it. */
  readonly host: Host;
  readonly model: string;
  /** The SQLite file in which finished parts stay. Default: none is kept. */
  readonly workFile?: string | undefined;
  /** Parts read at once. Default 4. */
  readonly atOnce?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What `summarize` and `summarizeMany` want of a model; open until disposed of. */
export async function openSummarizer(options: SummarizerOptions): Promise<SummarizeOptions & AsyncDisposable> {
  const { host, model, atOnce = 4, signal } = options;
  const now = () => performance.now();
  const residents = new Residents({
    ...{
      host,
      now,
      after,
      onLoad: () => undefined,
      context: PLANNED_CONTEXT,
      pinned: [model],
      mostSwitchWaitMs: 30_000,
    },
    budget: async () => ({ bytes: (await host.memory()).freeBytes, reserveBytes: RESERVE_BYTES }),
  });
  const policy = { ...DEFAULT_LANES, slots: atOnce, reserved: { interactive: 0, batch: 0 } };
  const lanes = new Lanes({ policy, now, after });
  const limits = { defaultMaxTokens: 1024, maxTokens: 32_768, promptTokens: 1_000_000 };
  const answers = new Answers({ host, residents, lanes, limits, now });
  await using stack = new AsyncDisposableStack();
  stack.use(host);
  const store = stack.use(await openWorkStore(options.workFile ?? ":memory:"));
  const writer = stack.use(
    await answersWriter({ host, residents, answers, model, lane: "batch", caller: "here" }, signal),
  );
  const owned = stack.move();
  return {
    ...{ writer, atOnce, signal, now, kept: keptIn(store, Date.now) },
    wait: (ms, stop) => wait(ms, undefined, stop ? { signal: stop } : {}),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
