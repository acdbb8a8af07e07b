// The official OpenAI client, unchanged, against the server with the real model.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import type { RunningServer } from "../src/serve/mod.ts";
import { smollm2Server } from "./setup/server.ts";

const model = "smollm2-135m";
let server: RunningServer;
let client: OpenAI;
before(async () => {
  server = await smollm2Server();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
after(() => server?.[Symbol.asyncDispose]());

const ask = {
  model,
  messages: [{ role: "user", content: "Name three fruits." }],
  temperature: 0,
  max_tokens: 24,
} as const;
type Chat = OpenAI.Chat.ChatCompletionCreateParamsNonStreaming;
const chat = (more: Partial<Chat> = {}) =>
  client.chat.completions.create({ ...ask, messages: [...ask.messages], ...more });

test("models are listed", async () => {
  const ids = (await client.models.list()).data.map(({ id }) => id);
  assert.ok(ids.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve("no-such-model"), { status: 404 });
});

test("a streamed chat is the whole chat, with usage", async () => {
  const whole = await chat();
  const stream = await client.chat.completions.create({
    ...ask,
    messages: [...ask.messages],
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage: OpenAI.CompletionUsage | null | undefined;
  let reason: string | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    reason = chunk.choices[0]?.finish_reason ?? reason;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0]?.message.content);
  assert.ok(text.length > 10);
  assert.equal(reason, whole.choices[0]?.finish_reason);
  assert.equal(usage?.total_tokens, whole.usage?.total_tokens);
  assert.equal(usage?.completion_tokens, whole.usage?.completion_tokens);
});

test("n choices with seeds: the first is the answer alone, the same again", async () => {
  const more = { n: 3, temperature: 0.9, seed: 7, max_tokens: 12 };
  const texts = (await chat(more)).choices.map(({ message }) => message.content);
  assert.equal(new Set(texts).size, 3);
  assert.deepEqual(
    (await chat(more)).choices.map(({ message }) => message.content),
    texts,
  );
  assert.equal((await chat({ ...more, n: 1 })).choices[0]?.message.content, texts[0]);
});

test("log-probabilities, a bias that bans, stop texts", async () => {
  const [choice] = (await chat({ logprobs: true, top_logprobs: 3, max_tokens: 4 })).choices;
  const content = choice?.logprobs?.content ?? [];
  assert.equal(content.length, 4);
  assert.equal(content.map(({ token }) => token).join(""), choice?.message.content);
  for (const { logprob, top_logprobs } of content) {
    assert.equal(top_logprobs.length, 3);
    assert.equal(top_logprobs[0]?.logprob, logprob); // the likeliest is taken at temperature 0
    assert.ok(logprob <= 0);
  }
  const plain = (await chat({ max_tokens: 1 })).choices[0]?.message.content ?? "";
  const id = server.serving.host;
  const encoded = await id.encode(model, { text: plain });
  const banned = await chat({ max_tokens: 1, logit_bias: { [String(encoded.ids.at(-1))]: -100 } });
  assert.notEqual(banned.choices[0]?.message.content, plain);
  const long = (await chat()).choices[0]?.message.content ?? "";
  const word = long.slice(8, 12);
  const stopped = await chat({ stop: [word] });
  assert.equal(stopped.choices[0]?.message.content, long.slice(0, long.indexOf(word)));
  assert.equal(stopped.choices[0]?.finish_reason, "stop");
});

test("completions: streamed and whole, echo", async () => {
  const request = { model, prompt: "The capital of France is", temperature: 0, max_tokens: 5 };
  const whole = await client.completions.create({ ...request, echo: true });
  assert.match(whole.choices[0]?.text ?? "", /^The capital of France is Paris/);
  let text = request.prompt;
  for await (const chunk of await client.completions.create({ ...request, stream: true }))
    text += chunk.choices[0]?.text ?? "";
  assert.equal(text, whole.choices[0]?.text);
});

test("a JSON schema holds the answer; what cannot be enforced is refused by name", async () => {
  const schema = {
    type: "object",
    properties: { fruits: { type: "array", items: { type: "string", maxLength: 10 }, minItems: 3, maxItems: 3 } },
    required: ["fruits"],
    additionalProperties: false,
  };
  const response_format = { type: "json_schema", json_schema: { name: "fruits", schema } } as const;
  const answer = await chat({ response_format, max_tokens: 100 });
  const { fruits } = JSON.parse(answer.choices[0]?.message.content ?? "") as { fruits: string[] };
  assert.equal(fruits.length, 3);
  const object = await chat({ response_format: { type: "json_object" }, max_tokens: 150, temperature: 0.5, seed: 3 });
  if (object.choices[0]?.finish_reason === "stop")
    assert.equal(typeof JSON.parse(object.choices[0].message.content ?? ""), "object");
  const bad = { ...schema, properties: { fruits: { ...schema.properties.fruits, uniqueItems: true } } };
  await assert.rejects(
    chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema: bad } } }),
    (error: unknown) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.equal(error.status, 400);
      assert.match(error.message, /uniqueItems/);
      return true;
    },
  );
});

test("a tool that must be called is called, whole and streamed", async () => {
  const tools: OpenAI.Chat.ChatCompletionTool[] = [
    {
      type: "function",
      function: {
        name: "weather",
        parameters: {
          type: "object",
          properties: { city: { type: "string", maxLength: 20 } },
          required: ["city"],
          additionalProperties: false,
        },
      },
    },
  ];
  const messages: Chat["messages"] = [{ role: "user", content: "How is the weather in Paris?" }];
  const request = { messages, tools, tool_choice: "required", max_tokens: 80 } as const;
  const [choice] = (await chat(request)).choices;
  const [call] = choice?.message.tool_calls ?? [];
  assert.equal(choice?.finish_reason, "tool_calls");
  assert.ok(call?.type === "function" && call.function.name === "weather");
  assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  const runner = client.chat.completions.stream({ ...ask, ...request, stream: true });
  const final = (await runner.finalChatCompletion()).choices[0]?.message.tool_calls?.[0];
  assert.ok(final?.type === "function");
  assert.deepEqual(JSON.parse(final.function.arguments), JSON.parse(call.function.arguments));
});

test("images are refused with a sentence; too long prompts by their length", async () => {
  const image: Chat["messages"] = [
    { role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }] },
  ];
  await assert.rejects(chat({ messages: image }), /400 .*image_url.*read no images/);
  await assert.rejects(chat({ messages: [{ role: "user", content: "word ".repeat(9000) }] }), {
    status: 400,
    code: "context_length_exceeded",
  });
});

test("a client that leaves frees its slot within a step", async () => {
  const controller = new AbortController();
  const stream = await client.chat.completions.create(
    { ...ask, messages: [...ask.messages], max_tokens: 2000, stream: true, logit_bias: { "2": -100 } },
    { signal: controller.signal },
  );
  for await (const _ of stream) {
    assert.equal(server.serving.lanes.state().interactive.running, 1);
    controller.abort();
    break;
  }
  for (let i = 0; i < 200 && server.serving.lanes.state().free < 4; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(server.serving.lanes.state().free, 4);
});

test("a page of another name, an unknown origin, and a bind without a key are refused", async () => {
  const of = async (headers: Record<string, string>) => (await fetch(`${server.url}/v1/models`, { headers })).status;
  assert.equal(await of({ origin: "https://example.com" }), 403);
  const { request } = await import("node:http");
  const status = await new Promise((resolve) => {
    request(`${server.url}/v1/models`, { headers: { host: "evil.example:80" } }, ({ statusCode }) =>
      resolve(statusCode),
    ).end();
  });
  assert.equal(status, 421);
  await assert.rejects(smollm2Server({ hostname: "0.0.0.0" }), /no key/);
});

test("another method of a route is a 405 that names those there are; another path a 404", async () => {
  const of = async (method: string, path: string) => {
    const { status, headers } = await fetch(server.url + path, { method });
    return [status, headers.get("allow")];
  };
  assert.deepEqual(await of("GET", "/v1/chat/completions"), [405, "POST"]);
  assert.deepEqual(await of("POST", "/v1/models"), [405, "GET, HEAD"]);
  assert.deepEqual(await of("PUT", "/irori/jobs/some-id"), [405, "GET, HEAD, DELETE"]);
  assert.deepEqual(await of("GET", "/v1/chat"), [404, null]);
  assert.deepEqual(await of("HEAD", "/v1/models"), [200, null]);
});
