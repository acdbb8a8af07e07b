// What serving costs and keeps: HTTP and another process against the engine itself, interactive beside 20 batch answers, prefixes,
// JSON schemas. `node bench/serve.ts [--rounds 5]`, SmolLM2-135M of the store; both sides of a row interleaved, medians and minima.
// It does not know how serving works.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text as readAll } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { shuffled } from "../src/adapt/mod.ts";
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

/** Node's own HTTP server over the same engine process, and nothing else: what no server on Node can do without. */
const bareServer = createServer(async (request, response) => {
  const { prompt, max_tokens: maxTokens } = JSON.parse(await readAll(request));
  const { ids } = await host.encode(model, { text: prompt });
  const asked = { ids, seed: 1, maxTokens, ignoreEos: true, sampling: { temperature: 0 } };
  response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
  let tokens = 0;
  for await (const event of host.generate(model, asked)) {
    if (event.type !== "token") continue;
    tokens++;
    if (event.text !== "") response.write(`data: ${JSON.stringify({ choices: [{ text: event.text }] })}\n\n`);
  }
  response.end(`data: ${JSON.stringify({ usage: { completion_tokens: tokens } })}\n\n`);
});
await new Promise<void>((resolve) => bareServer.listen(0, "127.0.0.1", resolve));
const bareUrl = `http://127.0.0.1:${(bareServer.address() as AddressInfo).port}`;

const overBareNode = (prompt: string, maxTokens: number) => overHttp(prompt, maxTokens, {}, bareUrl);
async function overHttp(prompt: string, maxTokens: number, more: object = {}, url = server.url): Promise<Timed> {
  const start = performance.now();
  const body = { model, prompt, max_tokens: maxTokens, temperature: 0, stream: true, ignore_eos: true };
  const asked = { ...body, stream_options: { include_usage: true }, ...more };
  const path = "messages" in more ? "chat/completions" : "completions";
  const response = await fetch(`${url}/v1/${path}`, { method: "POST", body: JSON.stringify(asked) });
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
/**
 * Each of some things in turn, over and over; the first round is not counted. In an order of its own each round: who comes behind the
 * other process finds cold caches.
 */
async function inTurn<T, N extends string>(
  things: Record<N, () => Promise<T>>,
  times = rounds,
): Promise<Record<N, T[]>> {
  const names = Object.keys(things) as N[];
  const all = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<N, T[]>;
  for (let i = 0; i <= times; i++)
    for (const name of shuffled(names, i)) {
      const made = await things[name]();
      if (i > 0) all[name].push(made);
    }
  return all;
}
async function pairs<T>(a: () => Promise<T>, b: () => Promise<T>): Promise<[T[], T[]]> {
  const all = await inTurn({ a, b });
  return [all.a, all.b];
}
const firsts = (all: readonly Timed[]) => all.map(({ firstMs }) => firstMs);
const tokens = (all: readonly Timed[]) => all.map(({ tokenMs }) => tokenMs);

const sides = (maxTokens: number) => ({
  served: () => overHttp(text(20), maxTokens),
  bareNode: () => overBareNode(text(20), maxTokens),
  bare: () => direct(text(20), maxTokens),
});
// a server that has been asked before, as one that runs all day has: V8 compiles what is called often
await inTurn(sides(2), 100);
const long = await inTurn(sides(96), rounds * 4);
tell("a token, over HTTP and another process against the engine itself", tokens(long.served), tokens(long.bare));
tell("  of that, Node's HTTP server alone over the same process", tokens(long.bareNode), tokens(long.bare));
// a difference of milliseconds beside a prompt's tens: many short answers
const short = await inTurn(sides(8), rounds * 10);
tell("first token of a short prompt, the same", firsts(short.served), firsts(short.bare));
tell("  of that, Node's HTTP server alone over the same process", firsts(short.bareNode), firsts(short.bare));

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
bareServer.close();
