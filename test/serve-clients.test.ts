// The Vercel AI SDK with its OpenAI-compatible provider, unchanged, and the curl lines of docs/serve.md, with the real model.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, streamText, type ToolSet } from "ai";
import type { RunningServer } from "../src/serve/mod.ts";
import { smollm2Server } from "./setup/server.ts";

let server: RunningServer;
let irori: ReturnType<typeof createOpenAICompatible>;
before(async () => {
  server = await smollm2Server();
  irori = createOpenAICompatible({
    name: "irori",
    baseURL: `${server.url}/v1`,
    supportsStructuredOutputs: true,
    includeUsage: true,
  });
});
after(() => server?.[Symbol.asyncDispose]());

const asked = () => ({ model: irori("smollm2-135m"), temperature: 0, maxRetries: 0, prompt: "Name three fruits." });

test("check 20: the AI SDK: a streamed text is the whole text, with usage", async () => {
  const whole = await generateText({ ...asked(), maxOutputTokens: 16 });
  const stream = streamText({ ...asked(), maxOutputTokens: 16 });
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.ok(text.length > 10);
  assert.equal(text, whole.text);
  assert.ok((whole.usage.outputTokens ?? 0) > 0);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
});

test("check 20: the AI SDK: an object under a JSON schema, a tool that must be called, vectors", async () => {
  const schema = jsonSchema<{ fruit: string }>({
    type: "object",
    properties: { fruit: { type: "string", maxLength: 12 } },
    required: ["fruit"],
    additionalProperties: false,
  });
  const object = await generateText({ ...asked(), maxOutputTokens: 60, output: Output.object({ schema }) });
  assert.equal(typeof object.output.fruit, "string");
  const tools: ToolSet = {
    taste: { description: "Tastes a fruit", inputSchema: schema } as unknown as ToolSet[string],
  };
  const called = await generateText({ ...asked(), maxOutputTokens: 60, tools, toolChoice: "required" });
  assert.equal(called.toolCalls[0]?.toolName, "taste");
  assert.match(JSON.stringify(called.toolCalls[0]?.input), /^\{"fruit":"/);
  const { embeddings } = await embedMany({
    model: irori.embeddingModel("smollm2-135m"),
    values: ["a fire", "a hearth"],
  });
  assert.deepEqual([embeddings.length, new Set(embeddings.map(({ length }) => length)).size], [2, 1]);
});

test("check 16: the AI SDK: a stream that is aborted frees its slot", async () => {
  const leaving = new AbortController();
  const stream = streamText({ ...asked(), maxOutputTokens: 2000, abortSignal: leaving.signal });
  for await (const _ of stream.textStream) {
    leaving.abort();
    break;
  }
  for (let i = 0; i < 200 && server.serving.lanes.state().free < 4; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(server.serving.lanes.state().free, 4);
});

test("the curl lines of docs/serve.md do what they say", async (t) => {
  if (spawnSync("curl", ["--version"]).error !== undefined) return t.skip("curl is not installed");
  const text = readFileSync(new URL("../docs/serve.md", import.meta.url), "utf8");
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => (block as string).replaceAll("\\\n", " "));
  const lines = blocks.flatMap((block) => block.split("\n")).filter((line) => line.startsWith("curl "));
  assert.ok(lines.length > 0);
  let job = ""; // what a reader puts in the place of ID: the job that was submitted last
  for (const line of lines) {
    const own = line.replaceAll("http://127.0.0.1:11435", server.url).replace("/jobs/ID", `/jobs/${job}`);
    const command = own.replace(/^curl/, "curl -sS --fail-with-body");
    const { stdout } = await promisify(execFile)("sh", ["-c", command]);
    const told = JSON.parse(stdout) as { readonly id?: string };
    assert.equal(typeof told, "object", line);
    if (line.includes("/irori/jobs ")) job = told.id as string;
  }
  return undefined;
});
