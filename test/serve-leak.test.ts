// What an ended request leaves behind in the server's process: nothing. Heap after collection, not time and not resident memory.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../src/serve/mod.ts";
import { collected } from "./setup/garbage.ts";
import { ScriptedHost } from "./setup/scripted-host.ts";

/** What is held when all finalizers have run. */
async function heap(): Promise<number> {
  await collected();
  return process.memoryUsage().heapUsed;
}

test("check 34: requests that ended, whole and streamed, hold no memory of the server", async () => {
  await using server = await startServer({ host: new ScriptedHost(), models: ["one"], port: 0, version: "0" });
  const ask = async (stream: boolean) => {
    const body = JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 2, stream });
    await (await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body })).text();
  };
  const round = async (requests: number) => {
    for (let i = 0; i < requests; i++) await ask(i % 2 === 0);
    return heap();
  };
  const warm = await round(450);
  const after = await round(300);
  const each = (after - warm) / 300;
  assert.ok(each < 4000, `${each.toFixed(0)} bytes a request`); // it was 20,000 when requests were kept
});
