// A day of news-site traffic (reference/serving-alt.md §2.4, §3) over a scripted engine of two slots, under Irori's lanes and
// under the original's semaphore (§1.6, its faults included): what requests wait for their start, in seconds.
// `node bench/lanes.ts [SEED]`. It does not know models: an answer takes the time that its tokens take there.
import { seededRandom } from "../src/base/mod.ts";
import { DEFAULT_LANES, type Effect, type Lane, LanePolicy } from "../src/serve/mod.ts";

const DAY = 86_400_000;
const [PREFILL, DECODE] = [2900, 53]; // tokens a second: §3, ADR-613
const SLOTS = 2;

interface Arrival {
  readonly at: number;
  readonly lane: Lane;
  readonly ms: number;
}

interface Outcome {
  readonly waits: Record<Lane, number[]>;
  /** From arrival to end. */
  readonly totals: Record<Lane, number[]>;
  readonly refused: Record<Lane, number>;
  preempted: number;
}
const outcome = (): Outcome => ({
  ...{ waits: { interactive: [], batch: [] }, totals: { interactive: [], batch: [] } },
  ...{ refused: { interactive: 0, batch: 0 }, preempted: 0 },
});

/** People by the hour of the day; articles every half hour in a sweep; a recap of 30 genres, 3 to 12 calls each, twice. */
function traffic(seed: number): Arrival[] {
  const random = seededRandom(seed);
  const service = (prompt: number, answer: number) => (prompt / PREFILL + answer / DECODE) * 1000;
  const between = (low: number, high: number) => low + random.next() * (high - low);
  const logNormal = (median: number, sigma: number) => {
    const gauss = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    return median * Math.exp(sigma * gauss);
  };
  const all: Arrival[] = [];
  for (let at = 0; at < DAY; ) {
    const hour = (at / DAY) * 24;
    const perHour = 6 + 54 * Math.max(0, Math.sin(((hour - 6) / 17) * Math.PI));
    at += -Math.log(1 - random.next()) * (3_600_000 / perHour);
    all.push({ at, lane: "interactive", ms: service(logNormal(1500, 0.6), between(80, 400)) });
  }
  for (let sweep = 0; sweep < 48; sweep++)
    for (let i = 0; i < 10; i++)
      all.push({ at: sweep * 1_800_000 + i * 50, lane: "batch", ms: service(logNormal(2700, 0.7), between(200, 600)) });
  for (const start of [3, 15])
    for (let genre = 0; genre < 30; genre++) {
      const calls = Math.floor(between(3, 13));
      for (let call = 0; call < calls; call++)
        all.push({
          at: start * 3_600_000 + genre * 150_000 + call * 200,
          lane: "batch",
          ms: service(3000, between(400, 1500)),
        });
    }
  return all.sort((a, b) => a.at - b.at);
}

function irori(arrivals: readonly Arrival[]): Outcome {
  const out = outcome();
  const policy = new LanePolicy({
    ...{ ...DEFAULT_LANES, slots: SLOTS, reserved: { interactive: 1, batch: 0 }, mostYieldMs: 0 },
  });
  interface Job extends Arrival {
    left: number;
    startedAt: number | undefined;
    hasStarted: boolean;
  }
  const jobs = new Map<number, Job>();
  let now = 0;
  const apply = (effects: readonly Effect[]) => {
    for (const effect of effects) {
      if (effect.type === "yield" || effect.type === "expire") continue;
      const job = jobs.get(effect.id) as Job;
      if (effect.type === "start") {
        if (!job.hasStarted) out.waits[job.lane].push(now - job.at);
        job.hasStarted = true;
        job.startedAt = now;
      } else {
        job.left -= now - (job.startedAt as number);
        job.startedAt = undefined;
        out.preempted++;
      }
    }
  };
  for (let i = 0; i < arrivals.length || jobs.size > 0; ) {
    let [first, endAt] = [-1, Infinity];
    for (const [id, job] of jobs)
      if (job.startedAt !== undefined && job.startedAt + job.left < endAt)
        [first, endAt] = [id, job.startedAt + job.left];
    const arrival = arrivals[i];
    const next = Math.min(endAt, arrival?.at ?? Infinity, policy.wakeAt(now));
    now = next;
    if (next === endAt) {
      const job = jobs.get(first) as Job;
      jobs.delete(first);
      out.totals[job.lane].push(now - job.at);
      apply(policy.end(first, now));
    } else if (arrival && next === arrival.at) {
      i++;
      const answer = policy.ask({ lane: arrival.lane, caller: arrival.lane }, now);
      if ("reason" in answer) out.refused[arrival.lane]++;
      else {
        jobs.set(answer.id, { ...arrival, left: arrival.ms, startedAt: undefined, hasStarted: false });
        apply(answer.effects);
      }
    } else apply(policy.tick(now));
  }
  return out;
}

/**
 * §1.6: slots by home pool that a release hands to whoever waits, interactive first, in LIFO; one queue limit for both; an
 * interactive request that finds no slot cancels the batch request that ran longest, which is sent again from its beginning;
 * promotion after 120 s puts a batch request behind all LIFO ones; after 5 interactive releases a batch request goes first.
 */
function original(arrivals: readonly Arrival[]): Outcome {
  const out = outcome();
  interface Job extends Arrival {
    since: number;
    startedAt: number;
    home: Lane;
  }
  const running = new Set<Job>();
  const waiting: Record<Lane, Job[]> = { interactive: [], batch: [] };
  const free: Record<Lane, number> = { interactive: 1, batch: SLOTS - 1 };
  let [now, inRow] = [0, 0];
  const start = (job: Job, home: Lane) => {
    out.waits[job.lane].push(now - job.at);
    running.add(Object.assign(job, { home, startedAt: now }));
  };
  const release = (job: Job) => {
    inRow = job.lane === "interactive" ? inRow + 1 : 0;
    // promoted ones keep their own time, later than every LIFO one's negative time: they are last of the interactive queue
    const promoted = waiting.batch.filter((each) => now - each.since >= 120_000);
    waiting.batch = waiting.batch.filter((each) => !promoted.includes(each));
    waiting.interactive.unshift(...promoted);
    const next =
      inRow >= 5 && waiting.batch.length > 0
        ? waiting.batch.shift()
        : (waiting.interactive.pop() ?? waiting.batch.shift());
    if (next) start(next, job.home);
    else free[job.home]++;
  };
  const ask = (job: Job) => {
    if (free[job.lane] > 0) {
      free[job.lane]--;
      start(job, job.lane);
    } else if (waiting.interactive.length + waiting.batch.length >= 10) out.refused[job.lane]++;
    else {
      waiting[job.lane].push(job);
      if (job.lane === "batch") return;
      const [victim] = [...running].filter(({ lane }) => lane === "batch").sort((a, b) => a.startedAt - b.startedAt);
      if (victim === undefined) return;
      running.delete(victim);
      out.preempted++;
      release(victim);
      again.push({ ...victim, since: now + 1000 });
    }
  };
  const again: Job[] = [];
  for (let i = 0; i < arrivals.length || running.size > 0 || again.length > 0; ) {
    const [first] = [...running].sort((a, b) => a.startedAt + a.ms - b.startedAt - b.ms);
    const endAt = first ? first.startedAt + first.ms : Infinity;
    again.sort((a, b) => a.since - b.since);
    const arrival = arrivals[i];
    now = Math.min(endAt, arrival?.at ?? Infinity, again[0]?.since ?? Infinity);
    if (first && now === endAt) {
      running.delete(first);
      out.totals[first.lane].push(now - first.at);
      release(first);
    } else if (arrival && now === arrival.at) {
      i++;
      ask({ ...arrival, since: now, startedAt: 0, home: arrival.lane });
    } else ask(again.shift() as Job);
  }
  return out;
}

const seed = Number(process.argv[2] ?? 1);
const arrivals = traffic(seed);
const count = (lane: Lane) => arrivals.filter((each) => each.lane === lane).length;
console.log(
  `seed ${seed}: ${count("interactive")} interactive and ${count("batch")} batch requests in a day, ${SLOTS} slots`,
);
const seconds = (all: readonly number[], q: number) => {
  const sorted = [...all].sort((a, b) => a - b);
  return ((sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0) / 1000).toFixed(1).padStart(8);
};
console.log("policy    lane           p50 s    p95 s    p99 s  end p95  refused  done");
for (const [name, run] of [
  ["irori", irori],
  ["original", original],
] as const) {
  const out = run(arrivals);
  for (const lane of ["interactive", "batch"] as const) {
    const waits = [0.5, 0.95, 0.99].map((q) => seconds(out.waits[lane], q)).join(" ");
    const end = seconds(out.totals[lane], 0.95);
    console.log(
      `${name.padEnd(9)} ${lane.padEnd(11)} ${waits} ${end} ${String(out.refused[lane]).padStart(8)} ${String(out.totals[lane].length).padStart(5)}`,
    );
  }
  console.log(`${name.padEnd(9)} batch answers that gave way: ${out.preempted}`);
}
