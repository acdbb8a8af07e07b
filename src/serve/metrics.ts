// Prometheus metrics of the server: every answer, whatever route it came by, moves them. The only file that imports prom-client.
// It does not know routes.
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { AnswerWatch } from "./answers.ts";
import type { MemoryUse } from "./host.ts";
import type { Effect, Lane } from "./lane-policy.ts";
import type { Lanes } from "./lanes.ts";
import { RefusedError } from "./lanes.ts";
import type { Remotes } from "./remotes.ts";
import { plannedBytes, type ResidencyItem } from "./residency.ts";
import type { Load } from "./residents.ts";

/** vLLM's, so that its dashboards fit. */
const FIRST_TOKEN = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
];
const BETWEEN = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5];
const WHOLE = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960];
const LANES: readonly Lane[] = ["interactive", "batch"];

export class Metrics {
  readonly #registry = new Registry();
  readonly #of = { registers: [this.#registry] };
  readonly #lane = { labelNames: ["lane"] as const, ...this.#of };
  readonly #firstToken = new Histogram({
    name: "irori_time_to_first_token_seconds",
    help: "From the request to its first token, waiting included",
    buckets: FIRST_TOKEN,
    ...this.#lane,
  });
  readonly #between = new Histogram({
    name: "irori_inter_token_latency_seconds",
    help: "Between two tokens of an answer",
    buckets: BETWEEN,
    ...this.#lane,
  });
  readonly #queue = new Histogram({
    name: "irori_request_queue_time_seconds",
    help: "From the request to its slot",
    buckets: FIRST_TOKEN,
    ...this.#lane,
  });
  readonly #whole = new Histogram({
    name: "irori_e2e_request_latency_seconds",
    help: "Waiting, reading and answering together",
    buckets: WHOLE,
    ...this.#lane,
  });
  readonly #prompt = new Counter({ name: "irori_prompt_tokens_total", help: "Tokens of prompts", ...this.#lane });
  readonly #reused = new Counter({
    name: "irori_prompt_tokens_reused_total",
    help: "Tokens of prompts that were not read again",
    ...this.#lane,
  });
  readonly #made = new Counter({ name: "irori_generation_tokens_total", help: "Tokens of answers", ...this.#lane });
  readonly #ended = new Counter({
    name: "irori_requests_total",
    help: "Answers by their end",
    labelNames: ["lane", "reason"],
    ...this.#of,
  });
  readonly #left = new Counter({
    name: "irori_cancelled_total",
    help: "Answers whose caller left, by where they stood",
    labelNames: ["lane", "phase"],
    ...this.#of,
  });
  readonly #refused = new Counter({
    name: "irori_admission_rejections_total",
    help: "Requests that a lane did not take",
    labelNames: ["lane", "reason"],
    ...this.#of,
  });
  readonly #failed = new Counter({
    name: "irori_request_failures_total",
    help: "Answers that ended with an error",
    ...this.#lane,
  });
  readonly #preempted = new Counter({
    name: "irori_preemptions_total",
    help: "Batch answers that stood still for interactive ones",
    ...this.#of,
  });
  readonly #loads = new Counter({
    name: "irori_model_loads_total",
    help: "Models opened, by cause",
    labelNames: ["cause"],
    ...this.#of,
  });
  readonly #loadTime = new Histogram({
    name: "irori_model_load_seconds",
    help: "What opening a model took",
    buckets: WHOLE,
    ...this.#of,
  });

  readonly #jobs = new Counter({
    name: "irori_jobs_total",
    help: "Jobs that ended, by how",
    labelNames: ["status"],
    ...this.#of,
  });

  /** Since the start: answers that began, and tokens as they are made. */
  readonly totals: Readonly<Record<Lane, { requests: number; tokens: number }>> = {
    interactive: { requests: 0, tokens: 0 },
    batch: { requests: 0, tokens: 0 },
  };

  readonly watch: AnswerWatch = {
    started: ({ lane }, { waitedMs }) => {
      this.totals[lane].requests++;
      this.#queue.observe({ lane }, waitedMs / 1000);
    },
    firstToken: ({ lane }, ms) => {
      this.totals[lane].tokens++;
      this.#firstToken.observe({ lane }, ms / 1000);
    },
    token: ({ lane }, ms) => {
      this.totals[lane].tokens++;
      this.#between.observe({ lane }, ms / 1000);
    },
    ended: ({ lane }, { promptTokens, reusedTokens, ids, stop, about, timings }) => {
      this.#prompt.inc({ lane }, promptTokens);
      this.#reused.inc({ lane }, reusedTokens);
      this.#made.inc({ lane }, ids.length);
      this.#ended.inc({ lane, reason: stop });
      this.#whole.observe({ lane }, (about.waitedMs + timings.prefillMs + timings.decodeMs) / 1000);
    },
    left: ({ lane }, phase) => this.#left.inc({ lane, phase }),
    failed: ({ lane }, error) => {
      if (error instanceof RefusedError) this.#refused.inc({ lane, reason: error.refusal.reason });
      else this.#failed.inc({ lane });
    },
  };

  loaded({ cause, ms }: Load): void {
    this.#loads.inc({ cause });
    this.#loadTime.observe(ms / 1000);
  }
  jobEnded(status: string): void {
    this.#jobs.inc({ status });
  }
  effect({ type }: Effect): void {
    if (type === "pause") this.#preempted.inc();
  }

  /** Reads what has a state at every scrape. */
  read(lanes: Lanes, memory: () => Promise<MemoryUse>): void {
    const of = (set: (gauge: Gauge<"lane">, lane: Lane) => void) => ({
      ...this.#lane,
      collect(this: Gauge<"lane">) {
        for (const lane of LANES) set(this, lane);
      },
    });
    new Gauge({
      name: "irori_num_requests_running",
      help: "Answers that have a slot",
      ...of((gauge, lane) => gauge.set({ lane }, lanes.state()[lane].running)),
    });
    new Gauge({
      name: "irori_num_requests_waiting",
      help: "Requests that wait for their first slot",
      ...of((gauge, lane) => gauge.set({ lane }, lanes.state()[lane].waiting)),
    });
    new Gauge({
      ...{ name: "irori_slots", help: "Slots by what they do", labelNames: ["state"], ...this.#of },
      collect() {
        const { slots, free } = lanes.state();
        this.set({ state: "free" }, free);
        this.set({ state: "held" }, slots - free);
      },
    });
    new Gauge({
      ...{
        name: "irori_memory_bytes",
        help: "Of the engine's process: private, resident; free for answers",
        labelNames: ["kind"],
        ...this.#of,
      },
      async collect() {
        const { privateBytes, residentBytes, freeBytes } = await memory();
        this.set({ kind: "private" }, privateBytes);
        this.set({ kind: "resident" }, residentBytes);
        this.set({ kind: "free" }, freeBytes);
      },
    });
  }

  /** What was planned of every model that is open, and how what is measured stands to it. */
  readPlans(
    open: () => readonly { readonly model: string; readonly items: readonly ResidencyItem[] }[],
    ownBytes: () => Promise<number>,
  ): void {
    new Gauge({
      ...{ name: "irori_model_plan_bytes", help: "Planned memory of the models that are open, by what it is for" },
      ...{ labelNames: ["model", "item"], ...this.#of },
      collect() {
        this.reset();
        for (const { model, items } of open())
          for (const { name, bytes } of items) this.set({ model, item: name }, bytes);
      },
    });
    new Gauge({
      name: "irori_memory_used_of_plan_ratio",
      help: "Memory that no file backs which models took, measured, over what was planned for it; 0 where none is open",
      ...this.#of,
      async collect() {
        const planned = open().reduce((sum, { items }) => sum + plannedBytes(items).own, 0);
        this.set(planned === 0 ? 0 : (await ownBytes()) / planned);
      },
    });
  }
  /** Other servers that take batch work, read at every scrape. */
  readRemotes(remotes: Remotes): void {
    const of = { labelNames: ["remote"] as const, ...this.#of };
    const state = () => remotes.state();
    new Gauge({
      ...{ name: "irori_remote_requests_in_flight", help: "Requests at another server", ...of },
      collect(this: Gauge<"remote">) {
        for (const { name, in_flight } of state()) this.set({ remote: name }, in_flight);
      },
    });
    new Gauge({
      ...{ name: "irori_remote_up", help: "1 where another server answers and has its models", ...of },
      collect(this: Gauge<"remote">) {
        for (const { name, is_well } of state()) this.set({ remote: name }, is_well ? 1 : 0);
      },
    });
    new Counter({
      ...{ name: "irori_remote_requests_total", help: "Requests that ended at another server, by how" },
      ...{ labelNames: ["remote", "outcome"] as const, ...this.#of },
      collect(this: Counter<"remote" | "outcome">) {
        this.reset();
        for (const { name, answered, full, failed, left } of state())
          for (const [outcome, count] of Object.entries({ answered, full, failed, left }))
            this.inc({ remote: name, outcome }, count);
      },
    });
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
  get contentType(): string {
    return this.#registry.contentType;
  }
}
