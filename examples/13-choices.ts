// Which of given answers does the model find likeliest, what would it say itself, and what do several tries give?
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m");

const prompt = { text: "The capital of Japan is" };
const cities = [" Kyoto", " Tokyo", " Osaka", " Paris"];
const scores = await lease.scoreContinuations(prompt, cities); // the prompt is read once
for (const [i, city] of cities.entries()) console.log(`ln p ${scores[i]?.logprob.toFixed(2)}${city}`);

for (const { text, score } of await lease.beams({ prompt, beams: 3, maxTokens: 6 }))
  console.log(`beam ${score.toFixed(2)} ${JSON.stringify(text)}`);

const tries = await lease.answers({ prompt, seed: 1, maxTokens: 8, sampling: { temperature: 1 } }, 4);
console.log(`the likeliest of 4, with seed ${tries[0]?.seed}: ${JSON.stringify(tries[0]?.text)}`);
