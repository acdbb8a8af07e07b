// Texts for the memory benches: sentences of the documentation that the lock file brings along (real words, the same on every
// machine), and short ones made by seed where only their number matters. It does not know stores.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../../src/base/mod.ts";

const modules = fileURLToPath(new URL("../../node_modules/", import.meta.url));
/** Shorter and longer ones are headings and tables. */
const [SHORTEST, LONGEST] = [40, 300];

/** Sentences of Markdown files and of comments in type declarations, each once, in the order of their files' names. */
export function realSentences(most: number): string[] {
  const found = new Set<string>();
  const files = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /(\.md|\.d\.ts)$/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const file of files) {
    const text = readFileSync(file, "utf8");
    const prose = file.endsWith(".ts")
      ? (text.match(/\/\*\*[\s\S]*?\*\//g) ?? []).join("\n\n").replace(/^\s*\/?\*+\/?/gm, "")
      : text.replace(/```[\s\S]*?```/g, "");
    for (const paragraph of prose.split(/\n\s*\n|\n\s*[-*@#|>]/))
      for (const sentence of paragraph.replace(/\s+/g, " ").split(/(?<=[.!?])\s+(?=[A-Z])/)) {
        const plain = sentence.trim();
        if (plain.length >= SHORTEST && plain.length <= LONGEST && /^[A-Z][\w ,'-]+ [\w ,'-]+/.test(plain))
          found.add(plain);
        if (found.size === most) return [...found];
      }
  }
  return [...found];
}

const WORDS = (
  "harbor signal copper meadow engine lantern orchard gravel window kettle bridge canyon marble ribbon timber violet anchor " +
  "barrel candle dagger ember falcon garnet hollow island jacket ladder magnet needle oyster pepper quartz raven saddle temple"
).split(" ");

/** So many texts of real words: every sentence, then pairs of them that stand far apart, each once. */
export function realTexts(count: number): string[] {
  const sentences = realSentences(count);
  const { length } = sentences;
  const texts = [...sentences];
  for (let i = 0; texts.length < count; i++)
    texts.push(`${sentences[i % length]} ${sentences[(i + 1 + 7_919 * (1 + Math.floor(i / length))) % length]}`);
  return texts;
}

/** Twelve words and a number each: as long as a short note. */
export function* madeTexts(seed: number): Generator<string> {
  const random = seededRandom(seed);
  for (let i = 0; ; i++) {
    const words = Array.from({ length: 12 }, () => WORDS[Math.floor(random.next() * WORDS.length)]);
    yield `Note ${i}: ${words.join(" ")}.`;
  }
}
