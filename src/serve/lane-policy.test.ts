// The lanes' policy against a model that keeps its own books from the effects alone, over 100,000 random operations; and
// what it promises of waiting, one by one. Numbers of checks are those of reference/serving-alt.md §7.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../base/mod.ts";
import { DEFAULT_LANES, type Effect, type Lane, type LaneOptions, LanePolicy } from "./lane-policy.ts";

const options = (more: Partial<LaneOptions> = {}): LaneOptions => ({ ...DEFAULT_LANES, ...more });

interface Known {
  readonly lane: Lane;
  state: "waiting" | "running" | "paused";
  readonly deadline: number | undefined;
  pauses: number;
}

/** Books of what runs, kept from effects. Every effect must be one that the request's state allows. */
class Books {
  readonly all = new Map<number, Known>();
  isYielding = false;
  readonly options: LaneOptions;
  constructor(lanes: LaneOptions) {
    this.options = lanes;
  }
  running(lane?: Lane): number {
    return [...this.all.values()].filter((each) => each.state === "running" && (!lane || each.lane === lane)).length;
  }
  apply(effects: readonly Effect[], now: number): void {
    for (const effect of effects) {
      if (effect.type === "yield") {
        assert.notEqual(effect.isOn, this.isYielding);
        this.isYielding = effect.isOn;
        continue;
      }
      const known = this.all.get(effect.id);
      assert.ok(known, `an effect for ${effect.id}, which is gone`);
      if (effect.type === "start") {
        assert.equal(known.state, effect.isResume ? "paused" : "waiting");
        assert.ok(effect.isResume || known.deadline === undefined || now <= known.deadline);
        known.state = "running";
      } else if (effect.type === "pause") {
        assert.deepEqual([known.state, known.lane], ["running", "batch"]);
        assert.ok(++known.pauses <= this.options.mostPauses);
        known.state = "paused";
      } else {
        assert.equal(known.state, "waiting");
        assert.ok(known.deadline !== undefined && now > known.deadline);
        this.all.delete(effect.id);
      }
    }
  }
}

function check(policy: LanePolicy, books: Books, now: number): void {
  const { slots, reserved, queue, canBorrow } = books.options;
  assert.equal(policy.free + books.running(), slots);
  assert.ok(policy.free >= 0);
  assert.ok(books.running("interactive") <= slots - reserved.batch);
  const waiting = (lane: Lane) =>
    [...books.all.values()].filter((each) => each.lane === lane && each.state === "waiting");
  for (const lane of ["interactive", "batch"] as const) {
    assert.equal(policy.depth(lane), waiting(lane).length);
    assert.ok(waiting(lane).length <= queue[lane]);
  }
  for (const each of waiting("interactive")) assert.ok(each.deadline === undefined || now <= each.deadline);
  if (waiting("interactive").length > 0 && books.running("interactive") < slots - reserved.batch)
    assert.equal(policy.free, 0, "a slot stands idle while an interactive request waits");
  if (waiting("batch").length > 0 && canBorrow) assert.equal(policy.free, 0, "a slot stands idle while batch waits");
}

test("check 16: 100,000 random operations: free + held = total, no effect that a request's state does not allow, nothing idle while somebody waits", () => {
  const random = seededRandom(7);
  const below = (n: number) => Math.floor(random.next() * n);
  for (let round = 0; round < 50; round++) {
    const slots = 1 + below(6);
    const interactive = below(slots + 1);
    const lanes = options({
      ...{ slots, reserved: { interactive, batch: below(slots - interactive + 1) }, canBorrow: random.next() < 0.7 },
      ...{ order: random.next() < 0.5 ? "fifo" : "lifo", queue: { interactive: 1 + below(8), batch: 1 + below(12) } },
      ...{ promoteMs: 50 + below(500), ratio: 1 + below(6), quantumMs: below(100), preemptAfterMs: below(2) * 20 },
      ...{ mostPauses: below(4), mostYieldMs: below(2) * 100, isFair: random.next() < 0.5 },
      serviceMs: { interactive: 20, batch: 80 },
    });
    const policy = new LanePolicy(lanes);
    const books = new Books(lanes);
    let now = 0;
    for (let i = 0; i < 2000; i++) {
      now += below(20);
      books.apply(policy.tick(now), now); // as the alarm does that wakeAt asks for
      const ids = [...books.all.keys()];
      const id = ids[below(Math.max(1, ids.length))];
      const what = random.next();
      if (what < 0.5 || id === undefined) {
        const lane: Lane = random.next() < 0.5 ? "interactive" : "batch";
        const deadline = random.next() < 0.2 ? now + below(200) : undefined;
        const before = policy.depth(lane);
        const answer = policy.ask({ lane, caller: `c${below(3)}`, deadline }, now);
        if ("reason" in answer) {
          assert.ok(answer.reason === "late" ? deadline !== undefined : before >= lanes.queue[lane]);
          assert.equal(policy.depth(lane), before);
        } else {
          books.all.set(answer.id, { lane, state: "waiting", deadline, pauses: 0 });
          books.apply(answer.effects, now);
        }
      } else if (what < 0.8) {
        books.all.delete(id);
        books.apply(policy.end(id, now), now);
        assert.deepEqual(policy.end(id, now), [], "a second end frees nothing");
      } else if (what < 0.9) books.apply(policy.firstToken(id, now), now);
      else books.apply(policy.tick(now), now);
      check(policy, books, now);
    }
  }
});

/** Asks; the id and whether it runs. */
function ask(
  policy: LanePolicy,
  lane: Lane,
  now: number,
  caller = "a",
): { id: number; runs: boolean; effects: Effect[] } {
  const answer = policy.ask({ lane, caller }, now);
  assert.ok("id" in answer);
  return { ...answer, runs: answer.effects.some((effect) => effect.type === "start" && effect.id === answer.id) };
}
const startsOf = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "start" ? [effect.id] : []));

test("check 11: with a batch backlog an interactive request runs at once, also after 100 interactive ones have ended", () => {
  for (const canBorrow of [true, false]) {
    const policy = new LanePolicy(
      options({ slots: 2, reserved: { interactive: 1, batch: 0 }, canBorrow, mostPauses: 1000 }),
    );
    for (let i = 0; i < 20; i++) ask(policy, "batch", 0);
    for (let i = 0; i < 100; i++) {
      const { id, runs } = ask(policy, "interactive", i * 10);
      assert.ok(runs);
      policy.end(id, i * 10 + 5);
    }
  }
});

test("check 12: batch borrows idle reserved slots where it may, and gives them back as soon as they are wanted", () => {
  const reserved = { interactive: 1, batch: 1 };
  const borrowing = new LanePolicy(options({ slots: 2, reserved, canBorrow: true }));
  const [, second] = [ask(borrowing, "batch", 0), ask(borrowing, "batch", 1)];
  assert.ok(second.runs);
  const asked = ask(borrowing, "interactive", 2);
  assert.ok(asked.runs && asked.effects.some((effect) => effect.type === "pause" && effect.id === second.id));
  const strict = new LanePolicy(options({ slots: 2, reserved, canBorrow: false }));
  ask(strict, "batch", 0);
  assert.ok(!ask(strict, "batch", 1).runs);
});

test("check 13: under a stream of interactive requests a batch one starts in time, in FIFO and LIFO", () => {
  for (const order of ["fifo", "lifo"] as const) {
    const lanes = options({
      slots: 1,
      reserved: { interactive: 0, batch: 0 },
      order,
      ratio: 5,
      promoteMs: 60_000,
      mostYieldMs: 0,
    });
    const policy = new LanePolicy(lanes);
    let running = ask(policy, "interactive", 0).id;
    const batch = ask(policy, "batch", 1);
    for (let i = 0; i < 8; i++) ask(policy, "interactive", 2);
    let started: number | undefined;
    for (let service = 1; service <= 7 && started === undefined; service++) {
      const [next] = startsOf(policy.end(running, service * 1000));
      ask(policy, "interactive", service * 1000);
      if (next === batch.id) started = service;
      else running = next as number;
    }
    assert.ok(started !== undefined && started <= lanes.ratio + 1, `${order}: started after ${started}`);
  }
});

test("check 13: what waited for promoteMs is next, whatever the order", () => {
  const policy = new LanePolicy(
    options({ slots: 1, reserved: { interactive: 0, batch: 0 }, order: "lifo", ratio: 1000, promoteMs: 500 }),
  );
  const { id } = ask(policy, "interactive", 0);
  const batch = ask(policy, "batch", 0);
  for (let i = 0; i < 9; i++) ask(policy, "interactive", 100 + i);
  assert.deepEqual(startsOf(policy.end(id, 600)), [batch.id]);
});

test("check 14: a full batch queue refuses batch with its depth and a wait, and never interactive", () => {
  const lanes = options({
    slots: 1,
    reserved: { interactive: 0, batch: 0 },
    queue: { interactive: 4, batch: 3 },
    mostPauses: 0,
  });
  const policy = new LanePolicy(lanes);
  for (let i = 0; i < 4; i++) ask(policy, "batch", 0);
  const refused = policy.ask({ lane: "batch", caller: "a" }, 0);
  assert.ok("reason" in refused && refused.reason === "full" && refused.depth === 3);
  assert.equal(refused.waitMs, 4 * lanes.serviceMs.batch);
  assert.ok("id" in policy.ask({ lane: "interactive", caller: "a" }, 0));
});

test("check 15: the batch request that ran least gives way, after the wait that is set, so often at most", () => {
  const policy = new LanePolicy(
    options({ slots: 2, reserved: { interactive: 0, batch: 0 }, preemptAfterMs: 100, mostPauses: 1 }),
  );
  const [old, young] = [ask(policy, "batch", 0), ask(policy, "batch", 50)];
  const first = ask(policy, "interactive", 60);
  assert.ok(!first.runs);
  assert.equal(policy.wakeAt(60), 160);
  const effects = policy.tick(160);
  assert.deepEqual(
    effects.filter(({ type }) => type === "pause"),
    [{ type: "pause", id: young.id }],
  );
  assert.deepEqual(startsOf(policy.end(first.id, 200)), [young.id]); // it goes on
  const second = ask(policy, "interactive", 210);
  assert.deepEqual(
    policy.tick(310).filter(({ type }) => type === "pause"),
    [{ type: "pause", id: old.id }],
  );
  policy.end(second.id, 320);
});

test("check 17: what cannot start in time is refused at once; what waits too long is out", () => {
  const policy = new LanePolicy(
    options({ slots: 1, reserved: { interactive: 0, batch: 0 }, serviceMs: { interactive: 1000, batch: 1000 } }),
  );
  ask(policy, "interactive", 0);
  const late = policy.ask({ lane: "interactive", caller: "a", deadline: 500 }, 0);
  assert.ok("reason" in late && late.reason === "late");
  const hopeful = policy.ask({ lane: "interactive", caller: "a", deadline: 1500 }, 0);
  assert.ok("id" in hopeful);
  assert.deepEqual(policy.tick(1501), [{ type: "expire", id: hopeful.id }]);
});

test("check 19: a caller with 100 requests delays another's first by one service at most", () => {
  const policy = new LanePolicy(
    options({ slots: 1, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 200, batch: 1 } }),
  );
  const first = ask(policy, "interactive", 0, "busy");
  for (let i = 0; i < 99; i++) ask(policy, "interactive", 1, "busy");
  const other = ask(policy, "interactive", 2, "other");
  assert.equal(policy.position(other.id, 2), 1);
  assert.deepEqual(startsOf(policy.end(first.id, 1000)), [other.id]);
});

test("batch stands still while an interactive prompt is read, half of the time at most", () => {
  const policy = new LanePolicy(options({ slots: 4, reserved: { interactive: 1, batch: 1 }, mostYieldMs: 1000 }));
  ask(policy, "batch", 0);
  const { id, effects } = ask(policy, "interactive", 0);
  assert.deepEqual(effects.at(-1), { type: "yield", isOn: true });
  assert.deepEqual(policy.firstToken(id, 300), [{ type: "yield", isOn: false }]);
  let [now, stood, isOn] = [300, 0, false];
  for (let i = 0; i < 400; i++) {
    const step = 25;
    now += step;
    if (isOn) stood += step;
    const asked = i % 2 === 0 ? ask(policy, "interactive", now) : undefined; // a prompt that is read for ever
    for (const effect of [...(asked?.effects ?? []), ...policy.tick(now)])
      if (effect.type === "yield") isOn = effect.isOn;
    if (asked && i > 4) policy.end(asked.id, now);
  }
  assert.ok(stood > 2000 && stood < 6000, `${stood} of 10,000 ms`);
});
