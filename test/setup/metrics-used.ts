// A server that has done a little of everything, and what it tells Prometheus. It does not know what is tested with it.
import { remotesOf, startServer } from "../../src/serve/mod.ts";
import { ScriptedHost } from "./scripted-host.ts";

/** /metrics after traffic of every kind, so that every family has a sample. */
export async function usedMetrics(): Promise<string> {
  const remotes = remotesOf({ away: { url: "http://127.0.0.1:9/v1", models: { one: "one" } } }, () => undefined);
  await using server = await startServer({
    ...{ host: new ScriptedHost({ stepMs: 1 }), models: ["one"], port: 0, version: "0", remotes },
    lanes: { slots: 1, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 0, batch: 4 } },
  });
  const chat = (more: object, signal: AbortSignal | null = null) =>
    fetch(`${server.url}/v1/chat/completions`, {
      ...{ method: "POST", signal },
      body: JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 3, ...more }),
    });
  for (const lane of ["interactive", "batch"]) await (await chat({ lane })).text();
  await (await chat({ messages: [{ role: "user", content: "too long ".repeat(9000) }] })).text(); // fails
  const leaving = new AbortController();
  const left = (await chat({ max_tokens: 5000, stream: true, lane: "batch" }, leaving.signal)).body?.getReader();
  await left?.read();
  const [first, second] = [chat({}), chat({})]; // one of them is refused
  await Promise.all([first, second].map(async (response) => (await response).text()));
  leaving.abort();
  const job = { url: "/v1/chat/completions", body: { messages: [{ role: "user", content: "Hi" }], max_tokens: 2 } };
  const submitted = await fetch(`${server.url}/irori/jobs`, { method: "POST", body: JSON.stringify(job) });
  const { id } = (await submitted.json()) as { id: string };
  await (await fetch(`${server.url}/irori/jobs/${id}?wait_ms=5000`)).text();
  return (await fetch(`${server.url}/metrics`)).text();
}
