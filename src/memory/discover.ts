// Ideas that hold a memory together: words and names without which what is known would lie farther apart.
// It does not know who asks.
import type { NodeRef } from "./data-store.ts";
import { Before } from "./insight/gauge.ts";
import type { Neighbourhood } from "./insight/neighbourhood.ts";
import { textsOf } from "./insight/spike.ts";
import type { Parts } from "./parts.ts";

export interface Discovery {
  /** The word or name. */
  readonly idea: string;
  /** Share of the distances around it that it takes away. */
  readonly gain: number;
  readonly episodes: readonly { readonly id: string; readonly text: string }[];
}

/** Newest Episodes that are looked at, and the nodes around them. */
const LATEST = 60;
const LIMITS = { hops: 2, mostNodes: 220, mostLinks: 16 };
const LEAST_MENTIONS = 2;

export async function discover({ store, namespace, ...rest }: Parts, limit = 10): Promise<Discovery[]> {
  const { items } = await store.listEpisodes(namespace, { limit: LATEST, order: "newest" });
  const { nodes, links } = await store.network(
    namespace,
    items.map(({ id }) => `episode:${id}` as const),
    LIMITS,
  );
  const refs = nodes.map(({ ref }) => ref);
  const found: { ref: NodeRef; gain: number; mentions: NodeRef[] }[] = [];
  for (const ref of refs.filter((one) => one.startsWith("concept:"))) {
    const own = links.filter(({ source, target }) => source === ref || target === ref);
    const mentions = own.map(({ source, target }) => (source === ref ? target : source));
    if (mentions.length < LEAST_MENTIONS) continue;
    // the Concept as if it came new to the rest: what it brings together
    const order = [ref, ...refs.filter((one) => one !== ref)];
    const place = new Map(order.map((one, i) => [one, i]));
    const edges = links.map(({ source, target, weight }) => {
      const [a, b] = [place.get(source) as number, place.get(target) as number].sort((x, y) => x - y) as [
        number,
        number,
      ];
      return [a, b, weight] as const;
    });
    const neighbourhood: Neighbourhood = { nodes: order, hops: order.map(() => 0), edges };
    const attached = own.map(({ source, target, weight }) => ({
      place: (place.get(source === ref ? target : source) as number) - 1,
      weight,
    }));
    found.push({ ref, gain: new Before(neighbourhood).gaugeOf(attached).pathGain, mentions });
  }
  found.sort((a, b) => b.gain - a.gain || (a.ref < b.ref ? -1 : 1));
  const best = found.slice(0, limit);
  const texts = await textsOf(
    { store, namespace, ...rest },
    best.flatMap(({ ref, mentions }) => [ref, ...mentions]),
  );
  return best.map(({ ref, gain, mentions }) => ({
    idea: texts.get(ref) ?? ref,
    gain,
    episodes: mentions
      .filter((one) => one.startsWith("episode:"))
      .map((one) => ({ id: one.slice("episode:".length), text: texts.get(one) ?? "" })),
  }));
}
