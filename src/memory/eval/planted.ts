// A world with planted structure: facts of several topics, then texts of which it is known what they do to what was there:
// join two topics, shorten the way within one, or nothing new. Texts alone come out; nothing here knows how they are judged.
import { type Random, seededRandom } from "../../base/mod.ts";
import { type Domain, domains } from "./planted-words.ts";

/** What a planted text does. The first two restructure what is known; all others do not. */
export type PlantedKind =
  | "bridge" // joins two topics that had nothing to do with each other
  | "restructuring" // joins the far ends of one topic
  | "fact" // one more of the same
  | "elaboration" // as many words in common with one place as a bridge has with two
  | "variation" // a known fact with one word of the same place exchanged
  | "contradiction" // a known fact with another number
  | "repeat" // a known fact again, or with its words in another order
  | "stray" // a fact with one word of another topic
  | "noise"; // words of no topic

export const INSIGHT_KINDS: readonly PlantedKind[] = ["bridge", "restructuring"];
export const OTHER_KINDS: readonly PlantedKind[] = [
  "fact",
  "elaboration",
  "variation",
  "contradiction",
  "repeat",
  "stray",
  "noise",
];

export interface Planted {
  readonly kind: PlantedKind;
  readonly isInsight: boolean;
  readonly text: string;
  /** Names of the topics it speaks of. */
  readonly topics: readonly string[];
}

/** How hard it is. */
export interface Difficulty {
  readonly topics: number;
  readonly factsPerTopic: number;
  /** Nouns of the first place in a bridge or restructuring; of the second there are two. */
  readonly ownNouns: 2 | 3;
  /** Share of the ordinary facts that hold a stray word of another topic. */
  readonly strayShare: number;
}

/** Every combination is run. */
export const GRID: readonly Difficulty[] = [4, 8].flatMap((topics) =>
  [24, 48].flatMap((factsPerTopic) =>
    ([2, 3] as const).flatMap((ownNouns) =>
      [0, 0.1].map((strayShare) => ({ topics, factsPerTopic, ownNouns, strayShare })),
    ),
  ),
);

const SUBTOPICS = 6;
/** Nouns of a sub-topic that its next one uses too: topics are chains. */
const SHARED_NOUNS = 2;
const NOISE = (
  "zibble quorf mantiq drosh velk umbary snirt plave goffin trell wozz ekkel brindo kaspel yarrit ombo " +
  "fraxil dentro quillet haspar"
).split(" ");

export class PlantedWorld {
  readonly #random: Random;
  readonly #difficulty: Difficulty;
  readonly #topics: readonly Domain[];
  readonly #mentioned = new Set<string>();
  readonly #facts: { readonly text: string; readonly topic: number; readonly subtopic: number }[] = [];

  constructor(seed: number, difficulty: Difficulty) {
    this.#random = seededRandom(seed);
    this.#difficulty = difficulty;
    this.#topics = shuffled(domains, this.#random).slice(0, difficulty.topics);
  }

  /** What is known before anything is judged, in a mixed order. */
  background(): string[] {
    const { topics, factsPerTopic, strayShare } = this.#difficulty;
    for (let i = 0; i < topics * factsPerTopic; i++) {
      const topic = i % topics;
      const subtopic = Math.floor(this.#random.next() * SUBTOPICS);
      const stray = this.#random.next() < strayShare ? this.#noun(this.#other(topic), this.#any(SUBTOPICS)) : undefined;
      this.#facts.push({ text: this.#fact(topic, subtopic, stray), topic, subtopic });
    }
    for (const { text } of this.#facts) for (const word of text.match(/[a-z]+/g) ?? []) this.#mentioned.add(word);
    return shuffled(
      this.#facts.map(({ text }) => text),
      this.#random,
    );
  }

  plant(kind: PlantedKind): Planted {
    const topic = this.#any(this.#topics.length);
    const other = this.#other(topic);
    const subtopic = this.#any(SUBTOPICS);
    const known = this.#facts[this.#any(this.#facts.length)] as { text: string; topic: number; subtopic: number };
    const make: Readonly<Record<PlantedKind, () => readonly [text: string | undefined, topics: readonly number[]]>> = {
      bridge: () => [this.#joined([topic, subtopic], [other, this.#any(SUBTOPICS)]), [topic, other]],
      restructuring: () => {
        const ends = this.#random.next() < 0.5 ? [0, SUBTOPICS - 1] : [SUBTOPICS - 1, 0];
        return [this.#joined([topic, ends[0] as number], [topic, ends[1] as number]), [topic]];
      },
      fact: () => [this.#fact(topic, subtopic), [topic]],
      elaboration: () => [this.#joined([topic, subtopic], [topic, subtopic]), [topic]],
      variation: () => [this.#varied(known), [known.topic]],
      contradiction: () => [
        known.text.replace(/\d+/, (number) => String(Number(number) + 1 + this.#any(5))),
        [known.topic],
      ],
      repeat: () => [this.#random.next() < 0.5 ? known.text : reordered(known.text), [known.topic]],
      stray: () => [this.#fact(topic, subtopic, this.#noun(other, this.#any(SUBTOPICS))), [topic]],
      noise: () => [
        `The ${this.#pick(NOISE)} ${this.#pick(NOISE)} the ${this.#pick(NOISE)} and ${this.#pick(NOISE)}.`,
        [],
      ],
    };
    const [text, topics] = make[kind]();
    if (text === undefined) return this.plant(kind); // a place of which too little is known: another
    return {
      kind,
      text,
      isInsight: INSIGHT_KINDS.includes(kind),
      topics: topics.map((one) => (this.#topics[one] as Domain).name),
    };
  }

  /**
   * A text that restructures nothing, made by another grammar than everything above: other sentences, of another length and
   * choice of words, about one place of one topic.
   */
  nullText(): string {
    const topic = this.#any(this.#topics.length);
    const subtopic = this.#any(SUBTOPICS);
    const noun = () => this.#noun(topic, subtopic);
    const { adjectives, verbs } = this.#topics[topic] as Domain;
    const forms = [
      () => `We noticed a ${noun()} beside some ${noun()} yesterday.`,
      () => `Nobody expected that ${noun()} to be so ${this.#pick(adjectives)}.`,
      () => `It ${this.#pick(verbs)} whenever ${noun()}, ${noun()} or ${noun()} come together, people say.`,
      () => `Her notes mention ${noun()} twice, ${noun()} once and a ${this.#pick(adjectives)} ${noun()} at the end.`,
      () => `A ${this.#pick(adjectives)}, ${this.#pick(adjectives)} ${noun()} again; the ${noun()} stayed as it was.`,
    ];
    return this.#pick(forms)();
  }

  #any(count: number): number {
    return Math.floor(this.#random.next() * count);
  }
  #pick<T>(list: readonly T[]): T {
    return list[this.#any(list.length)] as T;
  }
  #other(topic: number): number {
    return (topic + 1 + this.#any(this.#topics.length - 1)) % this.#topics.length;
  }

  /** Nouns of a sub-topic: its own, and the first of the next. */
  #nouns(topic: number, subtopic: number): string[] {
    const { nouns } = this.#topics[topic] as Domain;
    const own = Math.floor(nouns.length / SUBTOPICS);
    return nouns.slice(subtopic * own, (subtopic + 1) * own + (subtopic < SUBTOPICS - 1 ? SHARED_NOUNS : 0));
  }
  #noun(topic: number, subtopic: number): string {
    return this.#pick(this.#nouns(topic, subtopic));
  }
  #differentNouns(topic: number, subtopic: number, count: number): string[] {
    const nouns = this.#nouns(topic, subtopic);
    const chosen: string[] = [];
    while (chosen.length < count) {
      const noun = this.#pick(nouns);
      if (!chosen.includes(noun)) chosen.push(noun);
    }
    return chosen;
  }
  /** Verbs and adjectives go with sub-topics too. */
  #verb(topic: number, subtopic: number): string {
    return (this.#topics[topic] as Domain).verbs[subtopic * 2 + this.#any(2)] as string;
  }
  #adjective(topic: number, subtopic: number): string {
    return (this.#topics[topic] as Domain).adjectives[subtopic * 2 + this.#any(2)] as string;
  }

  #fact(topic: number, subtopic: number, stray?: string): string {
    const [a, b, c] = this.#differentNouns(topic, subtopic, 3) as [string, string, string];
    const last = stray ?? c;
    const number = 2 + this.#any(90);
    return `The ${this.#adjective(topic, subtopic)} ${a} ${this.#verb(topic, subtopic)} ${number} times the ${b} near the ${last}.`;
  }

  /** Nouns that the background has: of others nobody could know where they belong, so they join nothing. */
  #knownNouns(topic: number, subtopic: number, count: number): string[] | undefined {
    const nouns = this.#nouns(topic, subtopic).filter((noun) => this.#mentioned.has(noun));
    return nouns.length < count ? undefined : shuffled(nouns, this.#random).slice(0, count);
  }

  /** Nouns of one place or two, in the same sentence whatever it is: only the words tell. */
  #joined(first: readonly [number, number], second: readonly [number, number]): string | undefined {
    const { ownNouns } = this.#difficulty;
    const isOnePlace = first[0] === second[0] && first[1] === second[1];
    const own = this.#knownNouns(...first, isOnePlace ? ownNouns + 2 : ownNouns);
    const others = isOnePlace ? [] : this.#knownNouns(...second, 2);
    if (own === undefined || others === undefined) return undefined;
    const all = [...own, ...others];
    // where the first place has more nouns it has the verb as well: two words of seven are foreign, instead of three of six
    const verb = this.#verb(...(ownNouns === 2 ? second : first));
    const [c, d] = all.slice(-2) as [string, string];
    const subject = all.slice(0, ownNouns).join(" with the ");
    return `The ${this.#adjective(...first)} ${subject} ${verb} the ${c} and the ${d}.`;
  }

  #varied({ text, topic, subtopic }: { text: string; topic: number; subtopic: number }): string {
    const nouns = this.#nouns(topic, subtopic);
    const old = nouns.find((noun) => text.includes(` ${noun} `) || text.includes(` ${noun}.`));
    const fresh = nouns.find((noun) => !text.includes(noun));
    return old === undefined || fresh === undefined ? text : text.replace(new RegExp(`\\b${old}\\b`), fresh);
  }
}

/** "The A b the C near the D." → "Near the D the A b the C." */
function reordered(text: string): string {
  const at = text.lastIndexOf(" near the ");
  if (at < 0) return text;
  return `Near the ${text.slice(at + " near the ".length, -1)} the ${text.slice("The ".length, at)}.`;
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const placed = list.map((one) => ({ one, at: random.next() }));
  return placed.sort((a, b) => a.at - b.at).map(({ one }) => one);
}
