// Personalised PageRank over a small network: where a walker that keeps returning to its seeds is found.
// It does not know what the nodes are.

export interface Edge {
  readonly a: number;
  readonly b: number;
  readonly weight: number;
}

/** Chance of following a link rather than returning to a seed. */
const DAMPING = 0.5;
const ROUNDS = 24;

/**
 * Shares of nodes 0 … count−1, their sum 1. Links go both ways; what a node without links holds returns to the seeds.
 * @param seeds weight of each node to which the walker returns, by node
 */
export function personalisedPageRank(
  count: number,
  edges: readonly Edge[],
  seeds: ReadonlyMap<number, number>,
): Float64Array {
  const start = new Float64Array(count);
  let total = 0;
  for (const weight of seeds.values()) total += weight;
  for (const [node, weight] of seeds) start[node] = weight / total;
  const strength = new Float64Array(count);
  for (const { a, b, weight } of edges) {
    strength[a] = (strength[a] as number) + weight;
    strength[b] = (strength[b] as number) + weight;
  }
  let shares: Float64Array = start;
  for (let round = 0; round < ROUNDS; round++) {
    const next = new Float64Array(count);
    let walked = 0;
    for (const { a, b, weight } of edges) {
      const forth = (DAMPING * (shares[a] as number) * weight) / (strength[a] as number);
      const back = (DAMPING * (shares[b] as number) * weight) / (strength[b] as number);
      next[b] = (next[b] as number) + forth;
      next[a] = (next[a] as number) + back;
      walked += forth + back;
    }
    for (let i = 0; i < count; i++) next[i] = (next[i] as number) + (1 - walked) * (start[i] as number);
    shares = next;
  }
  return shares;
}
