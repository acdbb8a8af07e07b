// Eight answers at once: each is what it would be alone, all of them take little longer than two.
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m");

const topics = ["a hearth", "a lighthouse", "winter", "bread", "a river", "the moon", "a violin", "rain"];
const ask = async (topic: string, seed: number): Promise<string> => {
  const prompt = { messages: [{ role: "user", content: `Describe ${topic} in one short sentence.` }] };
  for await (const event of lease.generate({ prompt, seed, maxTokens: 24 }))
    if (event.type === "end") return event.text;
  return "";
};
await lease.warm(topics.length); // opens the step of eight rows beforehand
const together = await Promise.all(topics.map(ask));
for (const [i, text] of together.entries()) console.log(`${topics[i]}: ${text.split("\n")[0]}`);
console.log(`alone the first is ${(await ask("a hearth", 0)) === together[0] ? "the same" : "another"}`);
