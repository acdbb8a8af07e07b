// Ask a local model a question and stream the answer. The first run fetches and prepares the model.
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m");

const prompt = { messages: [{ role: "user", content: "What is a hearth? Answer in one sentence." }] };
for await (const event of lease.generate({ prompt, seed: 1, sampling: { temperature: 0 }, maxTokens: 60 })) {
  if (event.type === "token") process.stdout.write(event.text);
  if (event.type === "end") console.log(`\n${event.ids.length} tokens, stopped by ${event.stop}`);
}
