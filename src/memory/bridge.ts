// The way between two ideas: over Episodes and Concepts that are linked, with its weakest link. It does not know how links came.
import type { NodeRef } from "./data-store.ts";
import type { Scope } from "./episode.ts";
import { textsOf } from "./insight/spike.ts";
import { mayMeet } from "./knowledge.ts";
import type { Parts } from "./parts.ts";
import { recall } from "./recall.ts";

export interface BridgeStep {
  readonly ref: NodeRef;
  readonly text: string;
  /** The link from the step before; absent at the start. */
  readonly link?: { readonly kind: string; readonly weight: number } | undefined;
}

export interface Bridge {
  readonly from: string;
  readonly to: string;
  /** Empty where there is no way within the limits. */
  readonly steps: readonly BridgeStep[];
  /** The step whose link is the weakest. */
  readonly weakest?: BridgeStep | undefined;
  /** Whether everything within the hops was looked at. */
  readonly isWhole: boolean;
}

const SEEDS = 3;
const LIMITS = { mostNodes: 800, mostLinks: 24 };

/** @param hops links from either end that are followed; default 4 */
export async function bridge(
  parts: Parts,
  from: string,
  to: string,
  { hops = 4, ...scope }: { readonly hops?: number } & Scope = {},
): Promise<Bridge> {
  const { store, namespace } = parts;
  const [starts, ends] = (await Promise.all([from, to].map((idea) => seedsOf(parts, idea, scope)))) as [
    NodeRef[],
    NodeRef[],
  ];
  const { nodes, links, isWhole } = await store.network(namespace, [...new Set([...starts, ...ends])], {
    ...LIMITS,
    hops,
  });
  const episodes = await store.getEpisodes(
    namespace,
    nodes.filter(({ ref }) => ref.startsWith("episode:")).map(({ ref }) => ref.slice(8)),
  );
  const visible = new Set<NodeRef>(nodes.filter(({ ref }) => ref.startsWith("concept:")).map(({ ref }) => ref));
  for (const one of episodes) if (one !== undefined && mayMeet(one, scope)) visible.add(`episode:${one.id}`);
  const path = shortest(
    links.filter(({ source, target }) => visible.has(source) && visible.has(target)),
    starts,
    new Set(ends),
  );
  const texts = await textsOf(
    parts,
    path.map(({ ref }) => ref),
  );
  const steps = path.map((step): BridgeStep => ({ ...step, text: texts.get(step.ref) ?? step.ref }));
  const linked = steps.filter(({ link }) => link !== undefined);
  const weakest = linked.reduce<BridgeStep | undefined>(
    (least, step) => (least === undefined || (step.link?.weight ?? 0) < (least.link?.weight ?? 0) ? step : least),
    undefined,
  );
  return { from, to, steps, weakest, isWhole };
}

/** Episodes that speak of an idea. */
async function seedsOf(parts: Parts, idea: string, scope: Scope): Promise<NodeRef[]> {
  const { recalled } = await recall(parts, idea, { count: SEEDS, by: ["vector", "text"], ...scope });
  const about = recalled.filter(
    ({ similarity, ways }) => similarity >= parts.embedder.related || ways.text !== undefined,
  );
  return about.map(({ episode }) => `episode:${episode.id}` as const);
}

type Edge = { readonly source: NodeRef; readonly target: NodeRef; readonly kind: string; readonly weight: number };

/** Dijkstra's way from any start to any end; a link is as long as it is weak (1/weight). */
function shortest(
  links: readonly Edge[],
  starts: readonly NodeRef[],
  ends: ReadonlySet<NodeRef>,
): Omit<BridgeStep, "text">[] {
  const around = new Map<NodeRef, { readonly to: NodeRef; readonly kind: string; readonly weight: number }[]>();
  for (const { source, target, kind, weight } of links)
    for (const [at, to] of [
      [source, target],
      [target, source],
    ] as const)
      around.set(at, [...(around.get(at) ?? []), { to, kind, weight }]);
  const best = new Map<
    NodeRef,
    { readonly length: number; readonly step: Omit<BridgeStep, "text">; readonly before?: NodeRef }
  >();
  for (const ref of starts) best.set(ref, { length: 0, step: { ref } });
  const open = new Set(starts);
  while (open.size > 0) {
    const ref = [...open].reduce((a, b) =>
      (best.get(b)?.length ?? Infinity) < (best.get(a)?.length ?? Infinity) ? b : a,
    );
    open.delete(ref);
    const { length } = best.get(ref) as { length: number };
    if (ends.has(ref)) return walkBack(best, ref);
    for (const { to, kind, weight } of around.get(ref) ?? []) {
      const longer = length + 1 / weight;
      if (longer >= (best.get(to)?.length ?? Infinity)) continue;
      best.set(to, { length: longer, step: { ref: to, link: { kind, weight } }, before: ref });
      open.add(to);
    }
  }
  return [];
}

function walkBack(
  best: ReadonlyMap<NodeRef, { readonly step: Omit<BridgeStep, "text">; readonly before?: NodeRef }>,
  end: NodeRef,
) {
  const steps: Omit<BridgeStep, "text">[] = [];
  for (let at: NodeRef | undefined = end; at !== undefined; at = best.get(at)?.before)
    steps.unshift((best.get(at) as { step: Omit<BridgeStep, "text"> }).step);
  return steps;
}
