// Texts as vectors, and which of them is closest to a question. The first run fetches MiniLM (90 MB).
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("all-minilm-l6-v2");

const notes = [
  "The fire in the hearth was lit before sunrise.",
  "Trains to the coast leave every hour.",
  "いろりのまわりに家族が座った。",
  "She tuned the violin and began to play.",
];
const { vectors, truncated } = await lease.embed([...notes, "Who made a fire in the morning?"]);
const question = vectors.at(-1) as Float32Array;
const cosine = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
for (const [i, note] of notes.entries())
  console.log(`${cosine(question, vectors[i] as Float32Array).toFixed(3)}  ${note}`);
console.log(`${vectors.length} vectors of ${question.length} numbers, ${truncated.length} texts were too long`);
