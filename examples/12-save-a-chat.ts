// A chat is saved with all that the model has read, and another engine (another process, another day) goes on from there.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Lease, openEngine } from "irori";

const folder = await mkdtemp(join(tmpdir(), "irori-chat-"));
const messages = [
  { role: "system", content: "You answer in one short sentence." },
  { role: "user", content: "My name is Aki, and I like to sit by the fire. What is a hearth?" },
];
const answer = async (lease: Lease) => {
  for await (const event of lease.generate({ prompt: { messages }, seed: 1, maxTokens: 40 }))
    if (event.type === "end") return event;
  throw new Error("no end");
};
{
  await using engine = await openEngine();
  await using lease = await engine.lease("smollm2-135m");
  const { text } = await answer(lease);
  messages.push({ role: "assistant", content: text });
  const { ids, bytes } = await lease.saveChat(join(folder, "aki.chat"), { messages });
  console.log(`${ids.length} tokens saved, ${(bytes / 1e6).toFixed(1)} MB: ${text}`);
}
{
  await using engine = await openEngine();
  await using lease = await engine.lease("smollm2-135m");
  await lease.restoreChat(join(folder, "aki.chat"));
  messages.push({ role: "user", content: "What is my name?" });
  const { text, promptTokens, reusedTokens } = await answer(lease);
  console.log(`${reusedTokens} of ${promptTokens} tokens were not read again: ${text}`);
}
await rm(folder, { recursive: true });
