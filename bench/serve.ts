// What serving costs and keeps: HTTP and another process against the engine itself, interactive beside 20 batch answers, prefixes,
// JSON schemas. `node bench/serve.ts [--rounds 5]`, SmolLM2-135M of the store; both sides of a row interleaved, medians and minima.
// It does not know how serving works.
import { parseArgs } from "node:util";
import { openEngine, readSettings } from "../src/machine.ts";
import { ProcessHost, startServer } from "../src/serve/mod.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
const rounds = Number(values.rounds);
const model = "smollm2-135m";
const settings = { ...readSettings().settings, spin: false };
await using engine = await openEngine({ settings });
await using lease = await engine.lease(model);
await lease.warm(1);
const host = new ProcessHost({ settings, rows: 16 });
await using server = await startServer({ host, models: [model], port: 0, version: "0", lanes: { slots: 24 } });

let words = 0;
/** A text of so many tokens or so that no other begins like. */
const text = (tokens: number) =>
  `Note ${++words} of ${words * 7}. ${"The fire in the hearth never goes out. ".repeat(Math.ceil(tokens / 9))}`;

interface Timed {
  readonly firstMs: number;
  /** From the first text to the end, for each token behind the first: one without text counts as well. */
  readonly tokenMs: number;
}
async function overHttp(prompt: string, maxTokens: number, more: object = {}): Promise<Timed> {
  const start = performance.now();
  const body = { model, prompt, max_tokens: maxTokens, temperature: 0, stream: true, ignore_eos: true };
  const asked = { ...body, stream_options: { include_usage: true }, ...more };
  const path = "messages" in more ? "chat/completions" : "completions";
  const response = await fetch(`${server.url}/v1/${path}`, { method: "POST", body: JSON.stringify(asked) });
  let [first, tokens] = [0, 0];
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    for (const line of new TextDecoder().decode(chunk).split("\n\n")) {
      if (!line.startsWith("data: {")) continue;
      const { choices, usage } = JSON.parse(line.slice(6));
      if (choices?.[0]?.text || choices?.[0]?.delta?.content) first ||= performance.now();
      tokens = usage?.completion_tokens ?? tokens;
    }
  }
  return { firstMs: first - start, tokenMs: (performance.now() - first) / Math.max(1, tokens - 1) };
}
async function direct(prompt: string, maxTokens: number): Promise<Timed> {
  const start = performance.now();
  let [first, tokens] = [0, 0];
  for await (const event of lease.generate({
    prompt: { text: prompt },
    seed: 1,
    maxTokens,
    ignoreEos: true,
    sampling: { temperature: 0 },
  })) {
    if (event.type !== "token") continue;
    if (event.text !== "") first ||= performance.now();
    tokens++;
  }
  return { firstMs: first - start, tokenMs: (performance.now() - first) / Math.max(1, tokens - 1) };
}

const median = (all: readonly number[]) => [...all].sort((a, b) => a - b)[all.length >> 1] as number;
function tell(what: string, a: readonly number[], b: readonly number[], unit = "ms"): void {
  const ratio = (median(a) / median(b)).toFixed(3);
  const minima = (Math.min(...a) / Math.min(...b)).toFixed(3);
  console.log(
    `${what}: ${median(a).toFixed(2)} against ${median(b).toFixed(2)} ${unit}, ${ratio} x (minima ${minima} x)`,
  );
}
async function pairs<T>(a: () => Promise<T>, b: () => Promise<T>, times = rounds): Promise<[T[], T[]]> {
  await a();
  await b();
  const all: [T[], T[]] = [[], []];
  for (let i = 0; i < times; i++) {
    all[0].push(await a());
    all[1].push(await b());
  }
  return all;
}
const firsts = (all: readonly Timed[]) => all.map(({ firstMs }) => firstMs);
const tokens = (all: readonly Timed[]) => all.map(({ tokenMs }) => tokenMs);

// a server that has been asked before, as one that runs all day has: V8 compiles what is called often
await pairs(
  () => overHttp(text(20), 2),
  () => direct(text(20), 2),
  100,
);
const [served, bare] = await pairs(
  () => overHttp(text(20), 96),
  () => direct(text(20), 96),
);
tell("a token, over HTTP and another process against the engine itself", tokens(served), tokens(bare));
// a difference of milliseconds beside a prompt's tens: many short answers
const [servedFirst, bareFirst] = await pairs(
  () => overHttp(text(20), 8),
  () => direct(text(20), 8),
  rounds * 10,
);
tell("first token of a short prompt, the same", firsts(servedFirst), firsts(bareFirst));

const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 200 }, about: { type: "string", maxLength: 400 } },
  required: ["name", "about"],
};
const held = { response_format: { type: "json_schema", json_schema: { schema } } };
const [constrained, unheld] = await pairs(
  () =>
    overHttp("", 60, {
      ...held,
      ignore_eos: false,
      messages: [{ role: "user", content: `Describe person ${++words} as JSON.` }],
    }),
  () => overHttp("", 60, { messages: [{ role: "user", content: `Describe person ${++words} as JSON.` }] }),
);
tell("a token, held to a JSON schema against free", tokens(constrained), tokens(unheld));

const system = text(1000);
await overHttp(`${system}first`, 2);
const [shared, fresh] = await pairs(
  () => overHttp(`${system} question ${++words}`, 2),
  () => overHttp(text(1000), 2),
);
tell(
  "first token of a 1,000-token prompt that others have read, against one that nobody has",
  firsts(shared),
  firsts(fresh),
);

const idle: Timed[] = [];
const busy: Timed[] = [];
for (let i = 0; i < rounds; i++) {
  idle.push(await overHttp(text(300), 32));
  const batch = Array.from({ length: 20 }, (_, k) => overHttp(`Batch ${k}: ${text(10)}`, 120, { lane: "batch" }));
  await new Promise((resolve) => setTimeout(resolve, 2500));
  busy.push(await overHttp(text(300), 32));
  await Promise.all(batch);
}
tell("interactive first token of a 300-token prompt, beside 20 batch answers against idle", firsts(busy), firsts(idle));
tell("a token of the same", tokens(busy), tokens(idle));

const quiet: Timed[] = [];
const beside: Timed[] = [];
for (let i = 0; i < rounds; i++) {
  quiet.push(await overHttp(text(20), 32));
  let isOver = false;
  const batch = Array.from({ length: 4 }, async () => {
    while (!isOver) await overHttp(text(700), 2, { lane: "batch" });
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  beside.push(await overHttp(text(20), 32));
  isOver = true;
  await Promise.all(batch);
}
tell(
  "an interactive token while four batch prompts of 700 tokens are read, against idle",
  tokens(beside),
  tokens(quiet),
);
