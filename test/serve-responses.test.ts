// /v1/responses by the official OpenAI client, unchanged: over a scripted engine, and with the real model.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { type ServerOptions, startServer } from "../src/serve/mod.ts";
import { type Script, ScriptedHost } from "./setup/scripted-host.ts";
import { smollm2Server } from "./setup/server.ts";

async function serve(script: Script = {}, options: Partial<ServerOptions> = {}) {
  const host = new ScriptedHost(script);
  const server = await startServer({ host, models: ["one"], port: 0, version: "0", ...options });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  return { host, server, client, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
const model = "one";
const weather = {
  type: "function",
  name: "weather",
  description: "Tells the weather",
  strict: false,
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
} as const;

type Event = OpenAI.Responses.ResponseStreamEvent;
async function eventsOf(client: OpenAI, body: Partial<OpenAI.Responses.ResponseCreateParamsStreaming>) {
  const events: Event[] = [];
  for await (const event of await client.responses.create({ model, input: "Hi", ...body, stream: true }))
    events.push(event);
  return events;
}
/** Types in a row, equal ones behind one another once. */
const typesOf = (events: readonly Event[]) =>
  events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);

test("check 20: a response whole: text, usage, what was asked comes back; a string and items are the same prompt", async () => {
  await using it = await serve({ says: () => "A fire that never goes out." });
  const asked = { model, instructions: "Be short.", max_output_tokens: 50, temperature: 0.5, metadata: { of: "me" } };
  const whole = await it.client.responses.create({ ...asked, input: "What is a hearth?" });
  assert.equal(whole.output_text, "A fire that never goes out.");
  assert.deepEqual(
    [whole.status, whole.object, whole.error, whole.incomplete_details],
    ["completed", "response", null, null],
  );
  assert.deepEqual([whole.instructions, whole.max_output_tokens, whole.temperature], ["Be short.", 50, 0.5]);
  assert.deepEqual(whole.metadata, { of: "me" });
  assert.deepEqual(whole.usage, {
    ...{ input_tokens: 6, output_tokens: 7, total_tokens: 13 },
    ...{ input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } },
  });
  const content = [{ type: "input_text", text: "What is a hearth?" }] as const;
  const items = await it.client.responses.create({
    ...asked,
    input: [{ role: "user", content: [...content] }],
  });
  assert.equal(items.output_text, whole.output_text);
  assert.equal(it.host.prompts[0], "Be short. What is a hearth?");
  assert.equal(it.host.prompts[1], it.host.prompts[0]);
});

test("check 20: a stream's events come in the official order, numbered from 0, and add up to the response", async () => {
  await using it = await serve({
    says: () => '<think>Two cities.</think>See:\n```json\n{"name":"weather","arguments":{"city":"Paris"}}\n```',
  });
  const events = await eventsOf(it.client, { tools: [weather] });
  assert.deepEqual(
    events.map(({ sequence_number }) => sequence_number),
    events.map((_, i) => i),
  );
  const text = (kind: string) => [
    ...["response.output_item.added", "response.content_part.added", `response.${kind}.delta`],
    ...[`response.${kind}.done`, "response.content_part.done", "response.output_item.done"],
  ];
  const calls = "response.function_call_arguments";
  assert.deepEqual(typesOf(events), [
    ...["response.created", "response.in_progress", ...text("reasoning_text"), ...text("output_text")],
    ...["response.output_item.added", `${calls}.delta`, `${calls}.done`, "response.output_item.done"],
    "response.completed",
  ]);
  const last = events.at(-1);
  assert.ok(last?.type === "response.completed");
  const [reasoning, message, call] = last.response.output;
  assert.deepEqual(reasoning?.type === "reasoning" && reasoning.content, [
    { type: "reasoning_text", text: "Two cities." },
  ]);
  assert.ok(message?.type === "message" && message.content[0]?.type === "output_text");
  assert.equal(message.content[0].text, "See:");
  assert.ok(call?.type === "function_call");
  assert.deepEqual([call.name, JSON.parse(call.arguments)], ["weather", { city: "Paris" }]);
  // <think> and </think> take three pieces each, the thinking between them two and a half
  assert.equal(last.response.usage?.output_tokens_details.reasoning_tokens, 7);
  for (const [i, item] of last.response.output.entries()) {
    const done = events.find((event) => event.type === "response.output_item.done" && event.output_index === i);
    assert.deepEqual(done?.type === "response.output_item.done" && done.item, item);
  }
  const deltas = events.flatMap((event) =>
    event.type === `${calls}.delta` ? [(event as { delta: string }).delta] : [],
  );
  assert.equal(deltas.join(""), call.arguments);
  // the client's own accumulation of the stream is the same response
  const final = await it.client.responses.stream({ model, input: "Hi", tools: [weather] }).finalResponse();
  assert.equal(final.output_text, "See:");
  assert.equal(final.output[2]?.type, "function_call");
});

test("a call's output goes back as an item; its assistant's message has the call, and a call_id that nobody made is a 400", async () => {
  await using it = await serve({
    says: (prompt) =>
      prompt.includes("rain") ? "Take an umbrella." : '```json\n{"name":"weather","arguments":{"city":"Oslo"}}\n```',
  });
  const input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "Weather in Oslo?" }];
  const first = await it.client.responses.create({ model, input, tools: [weather] });
  const [call] = first.output;
  assert.ok(call?.type === "function_call");
  const output = { type: "function_call_output", call_id: call.call_id, output: "rain" } as const;
  const second = await it.client.responses.create({ model, input: [...input, call, output], tools: [weather] });
  assert.equal(second.output_text, "Take an umbrella.");
  const bad = { type: "function_call_output", call_id: "call_nobody", output: "rain" } as const;
  await assert.rejects(it.client.responses.create({ model, input: [...input, bad] }), {
    status: 400,
    param: "input[1].call_id",
  });
});

test("previous_response_id goes on from a response that is kept; store: false keeps none; others see none", async () => {
  const keys = [
    { name: "a", key: "key-a" },
    { name: "b", key: "key-b" },
  ];
  await using it = await serve({ says: (prompt) => `${prompt.length} characters` }, { keys });
  const of = (apiKey: string) => new OpenAI({ baseURL: `${it.server.url}/v1`, apiKey, maxRetries: 0 });
  const a = of("key-a");
  const first = await a.responses.create({ model, input: "One", instructions: "Count." });
  const second = await a.responses.create({ model, input: "Two", previous_response_id: first.id });
  assert.equal(it.host.prompts.at(-1), `One ${first.output_text} Two`); // instructions are not carried over
  const stream = await a.responses.create({ model, input: "Three", previous_response_id: second.id, stream: true });
  let streamed = "";
  for await (const event of stream) if (event.type === "response.completed") streamed = event.response.id;
  assert.equal(it.host.prompts.at(-1), `One ${first.output_text} Two ${second.output_text} Three`);
  assert.equal((await a.responses.retrieve(streamed)).output_text, `${it.host.prompts.at(-1)?.length} characters`);
  const listed = await a.responses.inputItems.list(second.id, { order: "asc" });
  assert.deepEqual(
    listed.data.map(({ type }) => type),
    ["message", "message", "message"],
  );
  await assert.rejects(of("key-b").responses.retrieve(first.id), { status: 404 });
  await assert.rejects(of("key-b").responses.create({ model, input: "x", previous_response_id: first.id }), {
    ...{ status: 400, param: "previous_response_id" },
  });
  await a.responses.delete(first.id);
  await assert.rejects(a.responses.retrieve(first.id), { status: 404 });
  const unkept = await a.responses.create({ model, input: "One", store: false });
  await assert.rejects(a.responses.retrieve(unkept.id), /404 .*send the conversation as input items/);
});

test("what is not served is a 400 that names it, before anything runs", async () => {
  await using it = await serve();
  const refused: [object, RegExp, string][] = [
    [{ background: true }, /POST \/irori\/jobs/, "background"],
    [{ truncation: "auto" }, /nothing of a conversation is cut off/, "truncation"],
    [{ conversation: "conv_1" }, /no such field/, "conversation"],
    [{ prompt: { id: "p" } }, /no such field/, "prompt"],
    [{ tools: [{ type: "web_search" }] }, /web_search.*runs no tools of its own/, "tools[0].type"],
    [{ include: ["file_search_call.results"] }, /file_search_call/, "include[0]"],
    [{ input: [{ type: "computer_call" }] }, /computer_call/, "input[0].type"],
    [
      { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] },
      /no images/,
      "input[0].content",
    ],
    [{ tool_choice: { type: "mcp" } }, /tool_choice/, "tool_choice"],
  ];
  for (const [more, message, param] of refused)
    await assert.rejects(it.client.responses.create({ model, input: "Hi", ...more } as never), (error: unknown) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.equal(error.status, 400);
      assert.match(error.message, message);
      assert.equal(error.param, param);
      return true;
    });
  const schema = { type: "array", uniqueItems: true, items: { type: "string" } };
  const text = { format: { type: "json_schema", name: "x", schema } } as const;
  await assert.rejects(it.client.responses.create({ model, input: "Hi", text }), /text\.format\.schema.*uniqueItems/);
  assert.equal(it.host.started, 0);
});

test("check 21: a response whose end is missing is an error event and response.failed, never completed", async () => {
  await using it = await serve({ cutAfter: 2 });
  const response = await fetch(`${it.server.url}/v1/responses`, {
    ...{ method: "POST", headers: { "content-type": "application/json" } },
    body: JSON.stringify({ model, input: "Hi", stream: true }),
  });
  const text = await response.text();
  const names = [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
  assert.deepEqual(names.slice(-2), ["error", "response.failed"]);
  assert.match(text, /without its last record/);
  assert.ok(!names.includes("response.completed"));
});

test("check 16: a client that leaves a streamed response frees its slot", async () => {
  await using it = await serve({ stepMs: 5 });
  const stream = await it.client.responses.create({ model, input: "Hi", max_output_tokens: 4000, stream: true });
  for await (const event of stream) if (event.type === "response.output_text.delta") break; // leaving aborts
  for (let i = 0; i < 400 && it.host.running > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  const { free, slots } = it.server.serving.lanes.state();
  assert.deepEqual([it.host.running, free], [0, slots]);
});

test("check 20: /v1/responses of SmolLM2: streamed = whole = the chat's text, a schema parsed by the client, a tool that must be called, too few tokens", async () => {
  await using server = await smollm2Server();
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const asked = { model: "smollm2-135m", input: "Name three fruits.", temperature: 0, max_output_tokens: 24 };
  const whole = await client.responses.create(asked);
  const chat = await client.chat.completions.create({
    ...{ model: asked.model, temperature: 0, max_tokens: 24 },
    messages: [{ role: "user", content: asked.input }],
  });
  assert.equal(whole.output_text, chat.choices[0]?.message.content);
  assert.equal(whole.usage?.output_tokens, chat.usage?.completion_tokens);
  const streamed = await client.responses.stream({ ...asked, stream: true }).finalResponse();
  assert.equal(streamed.output_text, whole.output_text);
  const cut = await client.responses.create({ ...asked, max_output_tokens: 3 });
  assert.deepEqual([cut.status, cut.incomplete_details], ["incomplete", { reason: "max_output_tokens" }]);
  const schema = {
    type: "object",
    properties: { fruit: { type: "string", maxLength: 12 } },
    required: ["fruit"],
    additionalProperties: false,
  };
  const format = { type: "json_schema", name: "fruit", schema, strict: true } as const;
  const parsed = await client.responses.parse({ ...asked, max_output_tokens: 60, text: { format } });
  assert.equal(typeof (parsed.output_parsed as unknown as { fruit: string }).fruit, "string");
  const parameters = { ...schema, properties: { city: { type: "string", maxLength: 20 } }, required: ["city"] };
  const called = await client.responses.create({
    ...{ ...asked, max_output_tokens: 60, tool_choice: "required", tools: [{ ...weather, parameters }] },
    input: "How is the weather in Paris?",
  });
  const [call] = called.output;
  assert.ok(call?.type === "function_call");
  assert.equal(typeof JSON.parse(call.arguments).city, "string");
  const chances = await client.responses.create({
    ...{ ...asked, max_output_tokens: 2, top_logprobs: 2, include: ["message.output_text.logprobs"] },
  });
  const [message] = chances.output;
  assert.ok(message?.type === "message" && message.content[0]?.type === "output_text");
  assert.deepEqual(
    message.content[0].logprobs?.map(({ top_logprobs }) => top_logprobs.length),
    [2, 2],
  );
});
