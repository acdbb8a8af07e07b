// A server in one's own process, asked as any OpenAI client asks: a chat streamed while a batch request runs beside it.
import { openEngine } from "irori";
import { EngineHost, startServer } from "irori/serve";

const host = new EngineHost({ engine: await openEngine(), rows: 2, freeBytes: () => 4e9, privateBytes: () => 0 });
await using server = await startServer({ host, models: ["smollm2-135m"], port: 0, version: "1", lanes: { slots: 4 } });

const post = (body: object) =>
  fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "smollm2-135m", temperature: 0, ...body }),
  });
const batch = post({ lane: "batch", max_tokens: 40, messages: [{ role: "user", content: "Tell me about the sea." }] });
const messages = [{ role: "user", content: "What is a hearth?" }];
const stream = await post({ messages, stream: true, max_tokens: 24 });
for (const line of (await stream.text()).split("\n\n")) {
  const data = line.replace(/^data: /, "");
  if (data.startsWith("{")) process.stdout.write(JSON.parse(data).choices[0]?.delta.content ?? "");
}
const { irori, usage } = (await (await batch).json()) as {
  irori: { lane: string };
  usage: { completion_tokens: number };
};
console.log(`\n${usage.completion_tokens} tokens in the lane ${irori.lane}`);
