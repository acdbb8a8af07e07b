// Whoever speaks OpenAI's API answers through the same interface as a model of this machine. Here a server of a few lines stands
// for vLLM, llama-server or Ollama; it is busy at first, and is asked again.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serverGenerator } from "irori/engine";

let asked = 0;
const server = createServer((_, response) => {
  if (asked++ === 0) return void response.writeHead(503, { "retry-after": "0" }).end();
  const piece = (content: string, finish_reason: string | null = null) =>
    `data: ${JSON.stringify({ choices: [{ delta: { content }, finish_reason }] })}\n\n`;
  response.end(`${piece("The fire ")}${piece("never goes out.", "stop")}data: [DONE]\n\n`);
}).listen(0, "127.0.0.1");
await once(server, "listening");

const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
await using generator = serverGenerator({ url, model: "any", deadlineMs: 30_000 });
const prompt = { messages: [{ role: "user", content: "What of the fire?" }] };
for await (const event of generator.generate({ prompt, seed: 1 })) {
  if (event.type === "token") process.stdout.write(event.text);
  if (event.type === "end") console.log(`\nasked ${asked} times, stopped by ${event.stop}`);
}
server.close();
