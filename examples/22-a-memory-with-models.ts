// A memory whose vectors are MiniLM's and whose answers SmolLM2 writes: both models of one engine, their weights mapped once.
// A sentence of the writer that nothing remembered supports is left out.
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine, openMemory } from "irori";
import { chatWriter, modelEmbedder } from "irori/memory";

const file = join(tmpdir(), `irori-example-${process.pid}.db`);
await using engine = await openEngine();
await using minilm = await engine.lease("all-minilm-l6-v2");
await using smollm2 = await engine.lease("smollm2-135m");

const embedder = modelEmbedder("all-minilm-l6-v2", 384, async (texts, { signal } = {}) => [
  ...(await minilm.embed(texts, { signal })).vectors,
]);
const writer = chatWriter("smollm2-135m", async (messages, { signal }) => {
  const prompt = { messages: messages.map((one) => ({ ...one })) };
  const request = { prompt, seed: 0, maxTokens: 60, sampling: { temperature: 0 } };
  for await (const event of smollm2.generate(request, { signal })) if (event.type === "end") return event.text;
  return "";
});
{
  await using memory = await openMemory({ file, embedder, writer });
  await memory.remember(["The cat sleeps on the warm stove.", "The ferry leaves at nine.", "Bread rises overnight."]);
  const { recalled } = await memory.recall("Where is the kitten napping?", { by: ["vector"] });
  console.log(`${recalled[0]?.similarity.toFixed(2)} ${recalled[0]?.episode.text}`);
  const { text, writer: by, unsupported } = await memory.ask("When does the ferry leave?");
  console.log(`${by}: ${text} (${unsupported.length} sentences left out)`);
}
for (const end of ["", "-wal", "-shm", "-holder"]) rmSync(file + end, { force: true });
