// One contract for everybody who answers and everybody who embeds; and what servers that misbehave come to: each a sentence that
// names them, with nothing waited for in vain.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import {
  type Embedder,
  Engine,
  type Generated,
  type Generator,
  type GeneratorEvent,
  type GeneratorRequest,
  hashedEmbedder,
  localEmbedder,
  localGenerator,
  mockEmbedder,
  mockGenerator,
  type ServerOptions,
  serverEmbedder,
  serverGenerator,
} from "../src/engine/mod.ts";
import { hashedVector } from "../src/text/mod.ts";
import { openaiServer, type Standin } from "./setup/openai-server.ts";
import { writeTinyModel } from "./setup/tiny-model.ts";

const WORDS = "one two three four five six seven eight nine ten eleven twelve";
let folder: string;
let engine: Engine;
let server: Standin;
let tiny: string;
let loads = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-providers-"));
  tiny = `file:${writeTinyModel(join(folder, "tiny"))}`;
  const now = () => performance.now();
  const onEvent = ({ type }: { readonly type: string }) => {
    if (type === "open") loads++;
  };
  engine = await Engine.open({ home: folder, threads: 2, spinning: false, now, budgetBytes: () => 8e9, onEvent });
  server = await openaiServer();
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const serverOf = (more: Partial<ServerOptions> = {}): ServerOptions => ({
  url: server.url,
  model: "m",
  seed: 1,
  ...more,
});

const generators: Readonly<Record<string, () => Generator>> = {
  local: () => localGenerator(engine, tiny, { form: "f32" }),
  server: () => serverGenerator(serverOf()),
  mock: () => mockGenerator([WORDS]),
  "mock:echo": () => mockGenerator(),
};

async function all(generator: Generator, request: GeneratorRequest, signal?: AbortSignal): Promise<GeneratorEvent[]> {
  const events: GeneratorEvent[] = [];
  for await (const event of generator.generate(request, { signal })) events.push(event);
  return events;
}
const endOf = (events: readonly GeneratorEvent[]): Generated => {
  const last = events.at(-1);
  assert.ok(last?.type === "end");
  assert.equal(events.filter(({ type }) => type === "end").length, 1);
  return last;
};
const piecesOf = (events: readonly GeneratorEvent[]): string =>
  events.map((event) => (event.type === "token" ? event.text : "")).join("");
const ask = (more: Partial<GeneratorRequest> = {}): GeneratorRequest => ({
  ...{ prompt: { text: WORDS }, seed: 7, sampling: { temperature: 0 }, ...more },
});

for (const [name, open] of Object.entries(generators))
  describe(`answers of ${name}`, () => {
    test("pieces put together begin the answer, which ends with its counts and its seed", async () => {
      await using generator = open();
      const events = await all(generator, ask({ maxTokens: 6, ignoreEos: true }));
      const { text, tokens, promptTokens, stop, seed, firstTokenMs, totalMs } = endOf(events);
      assert.ok(text !== "" && text.startsWith(piecesOf(events)));
      assert.deepEqual([tokens, stop, seed], [6, "length", 7]);
      assert.ok((promptTokens as number) > 0);
      assert.ok(firstTokenMs >= 0 && totalMs >= firstTokenMs);
      assert.ok(generator.id.length > 0 && generator.model.length > 0);
    });

    test("the same request has the same answer, also beside others, as text or as a chat", async () => {
      await using generator = open();
      const request = ask({ maxTokens: 5, ignoreEos: true });
      const wanted = endOf(await all(generator, request)).text;
      const others = ["a b c", "d e"].map((text) => all(generator, ask({ prompt: { text }, maxTokens: 9 })));
      assert.equal(endOf(await all(generator, request)).text, wanted);
      await Promise.all(others);
      const chat = { messages: [{ role: "user", content: WORDS }] };
      assert.equal(endOf(await all(generator, ask({ prompt: chat, maxTokens: 5, ignoreEos: true }))).tokens, 5);
    });

    test("a stop text ends it and is not part of it", async () => {
      await using generator = open();
      const whole = endOf(await all(generator, ask({ maxTokens: 12, ignoreEos: true }))).text;
      const stop = whole.slice(6, 9);
      const cut = endOf(await all(generator, ask({ maxTokens: 12, ignoreEos: true, stop: [stop] })));
      assert.equal(cut.text, whole.slice(0, whole.indexOf(stop)));
      assert.equal(cut.stop, "stop");
    });

    test("cancelled before, or after its first token, it ends with what there is", async () => {
      await using generator = open();
      const before = endOf(await all(generator, ask(), AbortSignal.abort()));
      assert.deepEqual([before.stop, before.text], ["cancelled", ""]);
      const control = new AbortController();
      const events: GeneratorEvent[] = [];
      for await (const event of generator.generate(ask({ maxTokens: 12, ignoreEos: true }), {
        signal: control.signal,
      })) {
        events.push(event);
        if (event.type === "token" && event.text !== "") control.abort();
      }
      const { stop, text } = endOf(events);
      assert.equal(stop, "cancelled");
      assert.ok(text.startsWith(piecesOf(events)) && text.length < WORDS.length);
    });

    test("a reader who goes leaves nothing behind", async () => {
      await using generator = open();
      for await (const event of generator.generate(ask({ maxTokens: 12 }))) if (event.type === "token") break;
      assert.ok(endOf(await all(generator, ask({ maxTokens: 3 }))).text.length > 0);
    });

    test("an empty prompt is refused", async () => {
      await using generator = open();
      await assert.rejects(all(generator, ask({ prompt: { text: "" } })), { code: "bad-input" });
    });
  });

test("a model of this machine is loaded once for any number of providers and callers", async () => {
  const many = Array.from({ length: 5 }, () => localGenerator(engine, tiny, { form: "f32" }));
  await Promise.all(many.map((generator) => all(generator, ask({ maxTokens: 2 }))));
  await Promise.all(many.map((generator) => generator[Symbol.asyncDispose]()));
  assert.equal(loads, 1);
});

test("a provider takes one lease for all its callers, gives it back, and tries again after one that failed", async () => {
  let [taken, given] = [0, 0];
  let isBroken = true;
  const counting: Pick<Engine, "lease"> = {
    lease: async (model, options) => {
      taken++;
      if (isBroken) throw new Error("not yet");
      const lease = await engine.lease(model, options);
      return new Proxy(lease, {
        get(target, name) {
          if (name === Symbol.asyncDispose) given++;
          const value = Reflect.get(target, name, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
  const generator = localGenerator(counting, tiny, { form: "f32" });
  assert.equal(taken, 0, "nothing is taken before it is asked");
  await assert.rejects(all(generator, ask({ maxTokens: 2 })), /not yet/);
  isBroken = false;
  await Promise.all(Array.from({ length: 4 }, () => all(generator, ask({ maxTokens: 2 }))));
  await all(generator, ask({ maxTokens: 2 }));
  await generator[Symbol.asyncDispose]();
  assert.deepEqual([taken, given], [2, 1]);
});

test("a script gives its answers one after the other, over and over; what a mock cannot do it says", async () => {
  await using mock = mockGenerator(["first", "second"]);
  const texts: string[] = [];
  for (let i = 0; i < 3; i++) texts.push(endOf(await all(mock, ask())).text);
  assert.deepEqual(texts, ["first", "second", "first"]);
  await assert.rejects(all(mock, ask({ prompt: { ids: [1] } })), /mock has no tokens: got a prompt of token ids/);
  await assert.rejects(all(mock, ask({ logprobs: 2 })), /mock cannot do logprobs; ask a model/);
});

const embedders: Readonly<Record<string, () => Embedder>> = {
  local: () => localEmbedder(engine, tiny, { form: "f32" }),
  server: () => serverEmbedder(serverOf()),
  hashed: hashedEmbedder,
  mock: () => mockEmbedder(48),
};
const TEXTS = ["the hat", "a hen in the barn", "the hat", " ", "thin"];

for (const [name, open] of Object.entries(embedders))
  describe(`vectors of ${name}`, () => {
    test("one a text in their order, of one length, the same beside others", async () => {
      await using embedder = open();
      const { vectors, dimensions, empty } = await embedder.embed(TEXTS);
      assert.equal(vectors.length, TEXTS.length);
      assert.equal(dimensions, await embedder.dimensions());
      for (const vector of vectors) assert.ok(vector.length === dimensions && vector.every(Number.isFinite));
      assert.deepEqual(empty, [3]);
      assert.deepEqual(vectors[0], vectors[2]);
      assert.notDeepEqual(vectors[0], vectors[1]);
      for (const [i, text] of TEXTS.entries()) {
        const [alone] = (await embedder.embed([text])).vectors;
        const far = Math.max(...(alone as Float32Array).map((x, j) => Math.abs(x - (vectors[i]?.[j] as number))));
        assert.ok(far < 1e-5, `${text}: ${far}`);
      }
    });

    test("many texts, none, and a caller who has left", async () => {
      await using embedder = open();
      const many = Array.from({ length: 150 }, (_, i) => `hen ${i}`);
      const { vectors } = await embedder.embed(many, { kind: "document" });
      assert.equal(vectors.length, 150);
      assert.notDeepEqual(vectors[0], vectors[149]);
      assert.deepEqual((await embedder.embed([])).vectors, []);
      await assert.rejects(embedder.embed(["a"], { signal: AbortSignal.abort() }), { code: "cancelled" });
    });
  });

describe("a server that misbehaves", () => {
  const quick = { deadlineMs: 5_000, idleMs: 20_000, retries: 3 };
  /** A silence that is soon too long: only for those that are silent, for a busy machine is slow too. */
  const hurried = { idleMs: 150 };
  const said = async (more: Partial<ServerOptions> = {}, request = ask()): Promise<Generated> => {
    await using generator = serverGenerator(serverOf({ ...quick, ...more }));
    return endOf(await all(generator, request));
  };
  const cases: readonly (readonly [Standin["mischief"], { readonly code: string; readonly message: RegExp }])[] = [
    [{ kind: "cut" }, { code: "io", message: /server http:.*#m: its answer was cut off/ }],
    [{ kind: "long" }, { code: "io", message: /#m: its answer was cut off: got 7 characters and no end; ask again/ }],
    [{ kind: "short" }, { code: "io", message: /#m: its answer was cut off/ }],
    [{ kind: "stall" }, { code: "io", message: /#m: it was too slow: got nothing for 0\.1 s|0\.2 s/ }],
    [{ kind: "silent" }, { code: "io", message: /#m: it was too slow: got nothing for/ }],
    [
      { kind: "broken" },
      { code: "library", message: /#m: a piece of its answer is not of OpenAI's shape: got "\{not json"/ },
    ],
    [{ kind: "error" }, { code: "io", message: /#m: it broke off its answer: got out of memory/ }],
    [{ kind: "flood" }, { code: "library", message: /#m: what it sends is no answer/ }],
    [{ kind: "redirect" }, { code: "io", message: /#m: it could not be reached: got unexpected redirect/ }],
    [
      { kind: "status", status: 401 },
      { code: "bad-input", message: /status 401: got status 401 it is; name the environment variable/ },
    ],
    [
      { kind: "status", status: 404 },
      { code: "not-found", message: /status 404/ },
    ],
    [
      { kind: "status", status: 400 },
      { code: "bad-input", message: /status 400/ },
    ],
    [
      { kind: "status", status: 503 },
      { code: "busy", message: /status 503: got status 503 it is; after 4 attempts/ },
    ],
    [{ kind: "reset" }, { code: "io", message: /it could not be reached.*after 4 attempts; is it running/ }],
    [
      { kind: "status", status: 429, retryAfter: "3600" },
      { code: "busy", message: /status 429.*the next attempt, in 3600 s, would come after the deadline of 5\.0 s/ },
    ],
  ];
  for (const [mischief, wanted] of cases)
    test(`${JSON.stringify(mischief)} is a sentence that names it`, async () => {
      server.mischief = mischief;
      try {
        const isSilent = mischief?.kind === "stall" || mischief?.kind === "silent";
        await assert.rejects(said(isSilent ? hurried : {}), (error: Error & { code: string }) => {
          assert.match(error.message, wanted.message);
          assert.equal(error.code, wanted.code);
          return true;
        });
      } finally {
        server.mischief = undefined;
      }
    });

  test("an answer that is longer than it may be is not believed", async () => {
    server.mischief = { kind: "lying" };
    await assert.rejects(
      said({}, ask({ maxTokens: 4 })),
      /its answer is not as long as it says: got 7000 tokens, wanted at most 4/,
    );
    server.mischief = { kind: "uncounted" };
    await assert.rejects(said(), /got 0 tokens for \d+ characters, wanted 1 or more/);
    server.mischief = undefined;
  });

  test("what is busy or not there for a moment is asked again, and as late as it wants", async () => {
    for (const mischief of [
      { kind: "status", status: 503, times: 3 },
      { kind: "status", status: 429, times: 1, retryAfter: "0.05" },
      { kind: "reset", times: 2 },
    ] as const) {
      server.mischief = mischief;
      server.asked.length = 0;
      assert.equal((await said()).text, WORDS, JSON.stringify(mischief));
      assert.equal(server.asked.length, mischief.times + 1);
    }
    server.mischief = undefined;
  });

  test("waits grow and are drawn: callers who failed together do not come back together", async () => {
    server.mischief = { kind: "status", status: 503 };
    const waitsOf = async (seed: number): Promise<readonly number[]> => {
      server.calls.length = 0;
      await assert.rejects(said({ seed }), /after 4 attempts/);
      return server.calls.slice(1).map(({ atMs }, i) => atMs - (server.calls[i]?.atMs as number));
    };
    for (const seed of [1, 2]) {
      const random = seededRandom(seed);
      const waits = await waitsOf(seed);
      assert.equal(waits.length, 3);
      // never sooner than drawn: the n-th wait is 250 · 2^n ms at most, times the n-th draw (a timer may be a millisecond early)
      for (const [n, wait] of waits.entries()) assert.ok(wait >= 250 * 2 ** n * random.next() - 2, `${seed}: ${wait}`);
    }
    server.mischief = { kind: "status", status: 429, times: 1, retryAfter: "0.3" };
    server.calls.length = 0;
    assert.equal((await said()).text, WORDS);
    const [first, second] = server.calls.map(({ atMs }) => atMs) as [number, number];
    assert.ok(second - first >= 298, "as late as it wants");
    server.mischief = undefined;
  });

  test("a whole answer has a deadline, and one who leaves is noticed there", async () => {
    server.mischief = { kind: "silent" };
    await assert.rejects(said({ deadlineMs: 80, idleMs: 60_000 }), /it was too slow: got its deadline has passed/);
    const control = new AbortController();
    await using generator = serverGenerator(serverOf({ idleMs: 60_000 }));
    setTimeout(() => control.abort(), 30);
    assert.equal(endOf(await all(generator, ask(), control.signal)).stop, "cancelled");
    server.mischief = undefined;
    const left = server.left();
    for await (const event of generator.generate(ask())) if (event.type === "token") break;
    for (let i = 0; server.left() === left && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(server.left(), left + 1);
  });

  test("nobody at the address", async () => {
    const gone = await openaiServer();
    await gone[Symbol.asyncDispose]();
    for (const url of [gone.url, gone.url.replace("127.0.0.1", "localhost")]) {
      const refused = /#m: it could not be reached: got .*ECONNREFUSED.*after 2 attempts/;
      await assert.rejects(said({ url, retries: 1 }), refused);
      await assert.rejects(serverEmbedder(serverOf({ url, retries: 1 })).embed(["a"]), refused);
    }
  });

  test("it is told what was asked, and the key; what OpenAI's API has no word for is refused", async () => {
    server.asked.length = 0;
    server.calls.length = 0;
    const sampling = { temperature: 0.5, topK: 3, logitBias: { 5: Number.NEGATIVE_INFINITY } };
    await said({ key: "secret" }, ask({ sampling, maxTokens: 3, stop: ["x"], ignoreEos: true }));
    const [body] = server.asked;
    assert.equal(server.calls[0]?.authorization, "Bearer secret");
    assert.deepEqual(
      [
        body?.model,
        body?.stream,
        body?.max_tokens,
        body?.temperature,
        body?.top_k,
        body?.stop,
        body?.logit_bias,
        body?.seed,
      ],
      ["m", true, 3, 0.5, 3, ["x"], { 5: -100 }, 7],
    );
    server.mischief = { kind: "status", status: 401 };
    await assert.rejects(said({ key: "secret" }), ({ message }: Error) => !message.includes("secret"));
    server.mischief = undefined;
    await assert.rejects(said({}, ask({ banned: [[1]] })), /cannot be asked for banned/);
  });

  test("vectors that are missing, of other lengths, not finite or cut off are not believed", async () => {
    await using embedder = serverEmbedder(serverOf(quick));
    const refused = async (mischief: Standin["mischief"], message: RegExp) => {
      server.mischief = mischief;
      await assert.rejects(embedder.embed(["a", "b"]), message);
      server.mischief = undefined;
    };
    const vector = (index: number, ...embedding: unknown[]) => ({ index, embedding });
    await refused(
      { kind: "vectors", data: [vector(0, 1)] },
      /#m: what it sends are no vectors of the texts: got 1 vectors, wanted one for each of 2/,
    );
    await refused({ kind: "vectors", data: [vector(0, 1), vector(1, 1, 2)] }, /a vector: got 2 numbers, wanted 1/);
    await refused({ kind: "vectors", data: [vector(0, 1), vector(1, 1), vector(2, 1)] }, /got 3 vectors, wanted one/);
    await refused({ kind: "vectors", data: [vector(0, 1e39), vector(1, 1)] }, /a vector that is not finite/);
    await refused({ kind: "vectors", data: [vector(0), vector(1)] }, /a vector: got 0 numbers, wanted 1 or more/);
    await refused({ kind: "vectors", data: [vector(0, 1), vector(1, null)] }, /no vectors of the texts: got data\.1/);
    await refused({ kind: "vectors", data: [vector(0, 1), vector(1, "1")] }, /no vectors of the texts/);
    await refused({ kind: "cut" }, /its answer was cut off/);
    assert.deepEqual((await embedder.embed(["hat"])).vectors[0], hashedVector("hat"));
  });
});
