// Steering, adapters and captures over HTTP, per request: over a scripted engine, and with the real model.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { writeSafetensors } from "../src/checkpoint/mod.ts";
import { Engine } from "../src/engine/mod.ts";
import { writeAdapter } from "../src/hooks/mod.ts";
import { EngineHost, type RunningServer, type ServerOptions, startServer } from "../src/serve/mod.ts";
import { mayGo } from "../src/serve/remote-answers.ts";
import { ScriptedHost } from "./setup/scripted-host.ts";
import { smollm2 } from "./setup/smollm2.ts";

async function asker(server: RunningServer) {
  const ask = async (path: string, body?: object) => {
    const response = await fetch(server.url + path, body && { method: "POST", body: JSON.stringify(body) });
    // biome-ignore lint/suspicious/noExplicitAny: each test says what it expects
    return { status: response.status, body: (await response.json()) as any };
  };
  const chat = (more: object = {}) =>
    ask("/v1/chat/completions", {
      ...{ messages: [{ role: "user", content: "Name three fruits." }], max_tokens: 12, temperature: 0, ...more },
    });
  return { ask, chat };
}
async function serve(options: Partial<ServerOptions> = {}) {
  const host = new ScriptedHost();
  const server = await startServer({ host, models: ["one"], port: 0, version: "0", ...options });
  return { host, server, ...(await asker(server)), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("adapters, vectors and HookPoints are listed; requests hand theirs to the engine, and unknown names are 404 before a stream begins", async () => {
  await using it = await serve();
  assert.deepEqual((await it.ask("/irori/adapters")).body.data, [{ name: "calm", rank: 2, weights: 4 }]);
  assert.deepEqual((await it.ask("/irori/vectors")).body.data, [{ name: "warm", shape: [2] }]);
  assert.deepEqual((await it.ask("/irori/hooks?model=one")).body.data, ["hook_embed", "blocks.0.hook_resid_post"]);
  const interventions = [{ at: "blocks.0.hook_resid_post", do: "steer", vector: "warm", strength: 2 }];
  const inside = { adapter: "calm", interventions };
  const handed = () => {
    const { adapter, interventions } = it.host.lastRequest ?? {};
    return { adapter, interventions };
  };
  await it.chat(inside);
  assert.deepEqual(handed(), inside);
  await it.ask("/v1/completions", { prompt: "Hi", max_tokens: 1 });
  assert.deepEqual(handed(), { adapter: undefined, interventions: undefined });
  await it.ask("/v1/completions", { prompt: "Hi", max_tokens: 1, ...inside });
  assert.deepEqual(handed(), inside);
  await it.ask("/v1/responses", {
    input: "Hi",
    max_output_tokens: 1,
    interventions: [{ at: "hook_embed", do: "zero" }],
  });
  assert.deepEqual(handed().interventions, [{ at: "hook_embed", do: "zero" }]);
  for (const stream of [false, true]) {
    const unknown = await it.chat({ adapter: "nobody", stream });
    assert.equal(unknown.status, 404);
    assert.match(unknown.body.error.message, /no adapter "nobody" here.*calm/);
    assert.equal((await it.chat({ interventions: [{ ...interventions[0], vector: "cold" }], stream })).status, 404);
    assert.equal((await it.ask("/v1/completions", { prompt: "Hi", adapter: "nobody", stream })).status, 404);
  }
  assert.equal((await it.chat({ interventions: [{ at: "x", do: "row", row: 1 }] })).status, 400);
});

test("what is changed or read inside is done here, also where other servers take batch work", () => {
  const plain = { model: "one", lane: "batch", prompt: { text: "Hi" }, caller: "me", seed: 0, sampling: {} } as const;
  assert.equal(mayGo(plain), true);
  assert.equal(mayGo({ ...plain, adapter: "calm" }), false);
  assert.equal(mayGo({ ...plain, interventions: [{ at: "hook_embed", do: "zero" }] }), false);
  assert.equal(mayGo({ ...plain, capture: ["hook_embed"] }), false);
});

test("captures come as float32 in base64, and are refused by their size before anything runs", async () => {
  await using it = await serve({ limits: { captureBytes: 100 } });
  const { body } = await it.ask("/irori/captures", { prompt: "a b c", capture: ["hook_embed"] });
  const { shape, data, from, dtype } = body.tensors.hook_embed[0];
  assert.deepEqual([from, shape, dtype], [0, [1, 3, 2], "float32"]);
  const bytes = Buffer.from(data, "base64");
  assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, 6)], [0, 1, 2, 3, 4, 5]);
  assert.equal(body.usage.prompt_tokens, 3);
  const { started } = it.host;
  const refused = await it.ask("/irori/captures", { prompt: "a b c", capture: ["hook_embed"], max_tokens: 11 });
  assert.equal(refused.status, 400);
  assert.match(refused.body.error.message, /captures of 13 tokens at 1 HookPoints: got 104 bytes, wanted at most 100/);
  assert.equal(it.host.started, started);
  assert.equal((await it.ask("/irori/captures", { capture: ["hook_embed"] })).status, 400);
});

test("SmolLM2: what is changed is changed for its own request alone; captures are the engine's, in any form of the answer", async () => {
  const { home } = await smollm2();
  const folder = await mkdtemp(join(tmpdir(), "irori-serve-inside-"));
  const hidden = 576;
  const up = Float32Array.from({ length: hidden }, (_, i) => (i % 7) - 3);
  await writeSafetensors(join(folder, "warm.safetensors"), { vector: { shape: [hidden], data: up } });
  const q = "model.layers.3.self_attn.q_proj.weight";
  const a = Float32Array.from({ length: 2 * hidden }, (_, i) => Math.sin(i));
  const b = Float32Array.from({ length: 2 * hidden }, (_, i) => Math.cos(i));
  await mkdir(join(folder, "calm"));
  await writeAdapter(join(folder, "calm"), {
    ...{ changes: [{ weight: q, rank: 2, scale: 1, a, b }] },
    config: { peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: ["q_proj"] },
  });
  const now = () => performance.now();
  const engine = await Engine.open({ home, threads: 2, spinning: false, budgetBytes: () => 8e9, now });
  const inside = { adapters: { calm: join(folder, "calm") }, vectors: { warm: join(folder, "warm.safetensors") } };
  const host = new EngineHost({ engine, rows: 2, freeBytes: () => 8e9, privateBytes: () => 0, inside });
  await using server = await startServer({ host, models: ["smollm2-135m"], port: 0, version: "0" });
  const { ask, chat } = await asker(server);
  assert.deepEqual((await ask("/irori/adapters")).body.data, [{ name: "calm", rank: 2, weights: 1 }]);
  assert.deepEqual((await ask("/irori/vectors")).body.data, [{ name: "warm", shape: [hidden] }]);
  const text = (answer: Awaited<ReturnType<typeof chat>>) => {
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body.choices[0].message.content as string;
  };
  const at = "blocks.12.hook_resid_post";
  const steer = (strength: number, vector: unknown = "warm") => ({
    interventions: [{ at, do: "steer", vector, strength }],
  });
  const plain = text(await chat());
  const [steered, tuned, beside] = await Promise.all([chat(steer(6)), chat({ adapter: "calm" }), chat()]);
  assert.equal(text(beside), plain);
  assert.notEqual(text(steered), plain);
  assert.notEqual(text(tuned), plain);
  assert.notEqual(text(tuned), text(steered));
  assert.equal(text(await chat(steer(0))), plain);
  assert.equal(text(await chat(steer(6, [...up]))), text(steered)); // by name or by numbers
  assert.match(
    (await chat({ interventions: [{ at: "blocks.99.hook_z", do: "zero" }] })).body.error.message,
    /nearest are/,
  );

  const { body } = await ask("/irori/captures", { prompt: "The capital of France is", capture: [at], max_tokens: 3 });
  const lease = await engine.lease("smollm2-135m");
  const rows: number[] = [];
  const request = {
    prompt: { ids: body.prompt_ids },
    seed: 0,
    maxTokens: 3,
    sampling: { temperature: 0 },
    capture: [at],
  };
  for await (const event of lease.generate(request))
    if (event.type === "captured") rows.push(...(event.tensors[at] as { data: Float32Array }).data);
  const [{ shape, data }] = body.tensors[at];
  const tokens = body.prompt_ids.length + 2;
  assert.deepEqual(shape, [1, tokens, hidden]);
  const bytes = Buffer.from(data, "base64");
  assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, tokens * hidden)], rows);
  const large = await ask("/irori/captures", { prompt: "word ".repeat(2000), capture: ["blocks.*.attn.hook_pattern"] });
  assert.equal(large.status, 400);
  assert.match(large.body.error.message, /blocks\.0\.attn\.hook_pattern alone takes/);
  const hooks = (await ask("/irori/hooks")).body.data as string[];
  assert.ok(hooks.includes(at) && hooks.length > 300);
  await lease[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
