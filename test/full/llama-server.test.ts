// llama.cpp's own server, as a package ships it, answers and embeds through the provider: the same prompts read as the same tokens,
// with nearly the same probabilities; limits, stops, cancels, and its own way to refuse.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { pythonOf } from "../../bench/python.ts";
import {
  Engine,
  type Generated,
  type Generator,
  type GeneratorRequest,
  localGenerator,
  serverEmbedder,
  serverGenerator,
  type TokenChoice,
} from "../../src/engine/mod.ts";
import { smollm2 } from "../setup/smollm2.ts";

const side = fileURLToPath(new URL("../../bench/peers/python/llama_cpp_server.py", import.meta.url));
const CONTEXT = 512;
const servers: ChildProcess[] = [];
let isOver = false;
let home: string;
let url: string;
let vectorsUrl: string;
before(async () => {
  const python = await pythonOf("llama-cpp", (text) => console.log(text));
  const model = await smollm2();
  home = model.home;
  url = await start(python, [model.path, `${CONTEXT}`]);
  vectorsUrl = await start(python, [model.path, `${CONTEXT}`, "embed"]);
});
after(() => {
  isOver = true;
  for (const { stdin } of servers) stdin?.end();
});

async function start(python: string, args: readonly string[]): Promise<string> {
  const child = spawn(python, [side, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  servers.push(child);
  let said = "";
  child.stderr.on("data", (text) => {
    said = `${said}${text}`.slice(-2000);
  });
  const [line] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  assert.match(String(line), /^http:/, `the server did not start: ${said}`);
  child.once("exit", (code, signal) => assert.ok(isOver, `the server ended by itself, ${code ?? signal}: ${said}`));
  return `${String(line).trim()}/v1`;
}

async function answerOf(generator: Generator, request: GeneratorRequest, signal?: AbortSignal) {
  const choices: TokenChoice[] = [];
  let end: Generated | undefined;
  for await (const event of generator.generate(request, { signal })) {
    if (event.type === "token" && event.logprobs) choices.push(event.logprobs);
    if (event.type === "end") end = event;
  }
  assert.ok(end);
  return { ...end, choices };
}

const greedy = { seed: 1, sampling: { temperature: 0 } };
const chat = (content: string) => ({ prompt: { messages: [{ role: "user", content }] }, ...greedy });

test("a chat is the same tokens there, and the likeliest ones have nearly the same probabilities", async (t) => {
  const now = () => performance.now();
  await using engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 4e9 });
  await using here = localGenerator(engine, "smollm2-135m");
  await using there = serverGenerator({ url, model: "any" });
  const far: number[] = [];
  for (const content of ["What is the capital of France?", "Count from one to ten.", "Name three colours."]) {
    const request = { ...chat(content), maxTokens: 12, logprobs: 2 };
    const [ours, theirs] = [await answerOf(here, request), await answerOf(there, request)];
    assert.deepEqual([theirs.promptTokens, theirs.stop, theirs.tokens], [ours.promptTokens, ours.stop, ours.tokens]);
    assert.equal(theirs.choices.length, theirs.tokens);
    const [mine, other] = [ours.choices[0], theirs.choices[0]] as [TokenChoice, TokenChoice];
    assert.equal(other.text, mine.text, content);
    assert.equal(other.top.length, 2);
    far.push(Math.abs(other.logprob - mine.logprob));
  }
  t.diagnostic(`first log-probabilities differ by at most ${Math.max(...far).toFixed(3)} (it rounds activations)`);
  assert.ok(Math.max(...far) < 0.3, `${far}`);
});

test("texts and ids are continued alike; a stop text ends and is left out; a caller who leaves gets what there is", async () => {
  await using there = serverGenerator({ url, model: "any" });
  const text = "One, two, three, four,";
  const now = () => performance.now();
  await using engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 4e9 });
  await using lease = await engine.lease("smollm2-135m", { warm: false });
  const ids = await lease.promptIds({ text });
  const byText = await answerOf(there, { prompt: { text }, maxTokens: 8, ...greedy });
  const byIds = await answerOf(there, { prompt: { ids }, maxTokens: 8, ...greedy });
  assert.deepEqual([byIds.text, byIds.promptTokens, byIds.tokens], [byText.text, byText.promptTokens, 8]);
  const stopped = await answerOf(there, { prompt: { text }, maxTokens: 40, stop: [" seven"], ...greedy });
  assert.equal(stopped.stop, "stop");
  assert.ok(byText.text.startsWith(stopped.text) && !stopped.text.includes("seven"), stopped.text);
  const control = new AbortController();
  let pieces = 0;
  for await (const event of there.generate({ ...chat("Tell a long story."), maxTokens: 400 }, control)) {
    if (event.type === "token" && ++pieces === 3) control.abort();
    if (event.type === "end") assert.equal(event.stop, "cancelled");
  }
  assert.ok(pieces < 10, `${pieces}`);
  const after = await answerOf(there, { prompt: { text }, maxTokens: 8, ...greedy });
  assert.equal(after.text, byText.text, "the server is free again");
});

test("what it refuses is a sentence that names it: a prompt beyond its context, vectors that it was not started for", async () => {
  await using there = serverGenerator({ url, model: "any", retries: 0 });
  await assert.rejects(answerOf(there, { ...chat("word ".repeat(2 * CONTEXT)), maxTokens: 4 }), (error: Error) => {
    assert.match(error.message, /#any: status 400: got .*context/);
    return true;
  });
  await using none = serverEmbedder({ url, model: "any", retries: 0 });
  await assert.rejects(none.embed(["a"]), { code: "unsupported" });
});

test("vectors have the model's width and length 1, and those of texts alike point alike", async () => {
  await using embedder = serverEmbedder({ url: vectorsUrl, model: "any" });
  assert.equal(await embedder.dimensions(), 576);
  const texts = ["The cat sleeps on the sofa.", "A cat is sleeping on a sofa.", "Interest rates rose again in March."];
  const { vectors, dimensions } = await embedder.embed([...texts, ...texts]);
  assert.deepEqual([vectors.length, dimensions], [6, 576]);
  const dot = (a: number, b: number) =>
    (vectors[a] as Float32Array).reduce((sum, x, i) => sum + x * ((vectors[b] as Float32Array)[i] as number), 0);
  for (const i of texts.keys()) assert.ok(Math.abs(dot(i, i) - 1) < 1e-4 && dot(i, i + 3) > 0.9999, `${i}`);
  assert.ok(dot(0, 1) > dot(0, 2));
});
