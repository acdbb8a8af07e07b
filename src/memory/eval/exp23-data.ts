// Questions with episodes that support their answers and others that distract, in the layout of the original's experiment 23.
// The original's data are one answer copied many times; these are chains of steps of ten things people know, asked from any
// step to a later one. It does not know who answers.

import { z } from "zod";
import { IroriError, seededRandom } from "../../base/mod.ts";

export interface Exp23Episode {
  readonly id: string;
  readonly text: string;
  readonly role: string;
}

export interface Exp23Row {
  readonly query: string;
  readonly ground_truth: string;
  readonly episodes: readonly Exp23Episode[];
}

const shape = z.object({
  query: z.string().min(1),
  ground_truth: z.string(),
  episodes: z.array(
    z.looseObject({ id: z.string(), text: z.string().default(""), role: z.string().default("support") }),
  ),
});

/** Reads the original's JSON lines. Throws "bad-file" with the line's number. */
export function readExp23(text: string): Exp23Row[] {
  const rows: Exp23Row[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    try {
      const { query, ground_truth, episodes } = shape.parse(JSON.parse(line));
      rows.push({
        query,
        ground_truth,
        episodes: episodes.map(({ id, text, role, ...parts }) => ({ id, role, text: text || joined(parts) })),
      });
    } catch (error) {
      throw new IroriError("bad-file", {
        what: `line ${i + 1} of the data`,
        got: (error as Error).message.slice(0, 200),
        wanted: '{ "query", "ground_truth", "episodes": [{ "id", "text", "role" }] }',
        cause: error,
      });
    }
  }
  return rows;
}

/** As the original says an episode without a text. */
const joined = (parts: Readonly<Record<string, unknown>>): string =>
  ["context", "operation", "affordance", "salience", "outcome", "goal"]
    .map((name) => `${name[0]?.toUpperCase()}${name.slice(1)}: ${String(parts[name] ?? "")}.`)
    .join(" ");

interface Chain {
  readonly domain: string;
  /** What acts, what it does, and what that leads to. */
  readonly steps: readonly (readonly [actor: string, does: string, so: string])[];
}

const chains: readonly Chain[] = [
  {
    domain: "hearth",
    steps: [
      ["dry cedar kindling", "catches fire from a single match", "the first flames are born"],
      ["the first flames", "heat the charcoal above them", "the charcoal begins to glow"],
      ["glowing charcoal", "warms the iron kettle on its hook", "the water in it boils"],
      ["boiling water", "draws the taste out of tea leaves", "green tea is ready for guests"],
      ["smoke of the hearth", "rises to the thatched roof", "insects leave the straw alone"],
    ],
  },
  {
    domain: "river",
    steps: [
      ["melting snow", "fills the mountain brooks", "the river swells in spring"],
      ["the swollen river", "carries silt down to the plain", "fields along it grow fertile"],
      ["fertile fields", "feed the rice seedlings", "harvests are rich in autumn"],
      ["river stones", "slow the current at the bend", "trout find calm pools"],
      ["calm pools", "let leaves sink and rot", "small shrimp have food in winter"],
    ],
  },
  {
    domain: "bakery",
    steps: [
      ["sourdough starter", "digests the sugar of the flour", "gas gathers in the dough"],
      ["gas in the dough", "stretches the gluten strands", "the loaf doubles its size"],
      ["the risen loaf", "meets the hot oven stone", "a crust forms around it"],
      ["the crust", "keeps the steam inside the crumb", "bread stays soft for days"],
      ["stale bread", "is soaked in milk and eggs", "nothing of the batch is wasted"],
    ],
  },
  {
    domain: "beehive",
    steps: [
      ["scout bees", "dance the direction of blossoms", "foragers know where to fly"],
      ["foragers", "bring nectar back to the comb", "house bees receive a thin syrup"],
      ["house bees", "fan the syrup with their wings", "it thickens into honey"],
      ["wax caps", "seal every filled cell", "honey lasts through the frost"],
      ["winter honey", "heats the cluster around the queen", "the colony survives until April"],
    ],
  },
  {
    domain: "post",
    steps: [
      ["a sorting machine", "reads the code on each envelope", "letters fall into district bins"],
      ["district bins", "are loaded onto night trains", "mail crosses the country by dawn"],
      ["night trains", "unload at the regional depot", "carriers pick up their bundles"],
      ["carriers", "walk the same streets daily", "every mailbox is served by noon"],
      ["undelivered parcels", "wait at the counter for a week", "neighbours can collect them later"],
    ],
  },
  {
    domain: "volcano",
    steps: [
      ["a sinking plate", "drags seawater into the mantle", "rock above it melts sooner"],
      ["molten rock", "gathers in a shallow chamber", "pressure builds under the cone"],
      ["rising pressure", "cracks the old lava plug", "ash escapes into the sky"],
      ["falling ash", "buries the slopes in grey dust", "soil becomes rich after years"],
      ["rich volcanic soil", "holds minerals that vines love", "growers plant vineyards there"],
    ],
  },
  {
    domain: "printing",
    steps: [
      ["a typesetter", "arranges lead letters in a frame", "a page stands mirrored in metal"],
      ["the metal page", "takes ink from leather balls", "its letters turn wet and black"],
      ["a screw press", "pushes paper onto the wet letters", "the text appears on the sheet"],
      ["printed sheets", "are folded and sewn together", "a book can be bound in boards"],
      ["cheap books", "travel with merchants to fairs", "ideas reach distant towns"],
    ],
  },
  {
    domain: "immune",
    steps: [
      ["a splinter", "breaks the barrier of the skin", "bacteria enter the wound"],
      ["resident macrophages", "swallow the first invaders", "alarm molecules are released"],
      ["alarm molecules", "widen the nearby vessels", "more white cells arrive"],
      ["dendritic cells", "carry fragments to a lymph node", "matching lymphocytes multiply"],
      ["memory lymphocytes", "remain for decades in the marrow", "the next infection is stopped early"],
    ],
  },
  {
    domain: "harbour",
    steps: [
      ["the lighthouse", "sweeps its beam over the reef", "captains keep clear of rocks"],
      ["a pilot boat", "guides freighters through the channel", "big ships reach the quay safely"],
      ["quay cranes", "lift containers off the deck", "trucks are loaded within hours"],
      ["the tide gate", "closes when storms push the sea", "warehouses stay dry"],
      ["customs officers", "compare seals with their lists", "smuggled goods are found"],
    ],
  },
  {
    domain: "glacier",
    steps: [
      ["fresh snowfall", "presses older layers together", "ice crystals grow dense"],
      ["dense ice", "flows slowly under its weight", "valleys are carved wide"],
      ["the glacier tongue", "drops boulders where it melts", "ridges of rubble remain"],
      ["rubble ridges", "dam the meltwater behind them", "a turquoise lake appears"],
      ["the lake outlet", "drives a turbine in summer", "villages below have light"],
    ],
  },
];

const QUESTIONS: readonly ((actor: string, so: string) => string)[] = [
  (actor, so) => `How does it come from ${actor} to the point that ${so}?`,
  (actor, so) => `Explain how ${actor} make it happen that ${so}.`,
  (actor, so) => `Why is it thanks to ${actor} that ${so}?`,
];
const EPISODE_FORMS: readonly ((actor: string, does: string, so: string) => string)[] = [
  (actor, does, so) => `${sentence(actor)} ${does}, so ${so}.`,
  (actor, does, so) => `Because ${actor} ${does}, ${so}.`,
  (actor, does, so) => `${sentence(so)} once ${actor} ${does}.`,
];
const sentence = (text: string): string => `${text[0]?.toUpperCase()}${text.slice(1)}`;

/** Every pair of steps of every chain, asked in every form: two supporting episodes (or one), two of other chains. */
export function makeExp23(seed: number): Exp23Row[] {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
  const texts = chains.map(({ steps }) => steps.map((step) => pick(EPISODE_FORMS)(...step)));
  const episodeOf = (chain: number, step: number, role: string): Exp23Episode => ({
    id: `${chains[chain]?.domain}_${step}`,
    text: texts[chain]?.[step] as string,
    role,
  });
  const rows: Exp23Row[] = [];
  for (const [c, { steps }] of chains.entries())
    for (let from = 0; from < steps.length; from++)
      for (let to = from; to < Math.min(steps.length, from + 3); to++)
        for (const ask of QUESTIONS) {
          const [first, last] = [steps[from], steps[to]] as [Chain["steps"][number], Chain["steps"][number]];
          const support = [...new Set([from, to])].map((step) => episodeOf(c, step, "support"));
          const others = Array.from({ length: 2 }, () => {
            const other = (c + 1 + Math.floor(random.next() * (chains.length - 1))) % chains.length;
            return episodeOf(other, Math.floor(random.next() * steps.length), "distractor");
          });
          const middle = from === to ? "" : `; ${last[0]} ${last[1]}`;
          rows.push({
            query: ask(first[0], last[2]),
            ground_truth: `${sentence(first[0])} ${first[1]}${middle}, and so ${last[2]}.`,
            episodes: [...support, ...others],
          });
        }
  return rows;
}
