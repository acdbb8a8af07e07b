// A program that is tried without a model: a mock answers from a script and hashed vectors find the note that a question is about.
// The same program with `localGenerator` and `localEmbedder`, or with a server, is a change of two lines.
import { hashedEmbedder, mockGenerator } from "irori/engine";

const embedder = hashedEmbedder();
const generator = mockGenerator(["The hearth stood in the middle [1]."]);

const notes = [
  "The hearth stood in the middle of the house.",
  "いろりは家のまんなかにある。",
  "Trains leave every hour.",
];
const closest = async (question: string): Promise<string> => {
  const { vectors } = await embedder.embed([...notes, question]);
  const last = vectors.at(-1) as Float32Array;
  const score = (i: number) => (vectors[i] as Float32Array).reduce((sum, x, j) => sum + x * (last[j] as number), 0);
  return notes[notes.map((_, i) => i).sort((a, b) => score(b) - score(a))[0] as number] as string;
};
console.log(await closest("Where in the house was the hearth?"));
console.log(await closest("家のいろりはどこ？"));

for await (const event of generator.generate({ prompt: { text: "Where was the hearth?" }, seed: 1 }))
  if (event.type === "end") console.log(`${event.text} (${event.tokens} words, ${event.stop})`);
