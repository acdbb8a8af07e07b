// Numbers of InsightSpike's own code (test/goldens/insight/original.json says how they were made), as the tests read them.
import { readFileSync } from "node:fs";

// biome-ignore lint/suspicious/noExplicitAny: the file's shape is told by each test that reads a part of it
export const insightVectors: Record<string, any> & InsightVectors = JSON.parse(
  readFileSync(new URL("./goldens/insight/original.json", import.meta.url), "utf8"),
);

interface InsightVectors {
  readonly sqlite_search: { readonly stored: Readonly<Record<string, number>> };
  readonly l2_search_similarity_inversion: {
    readonly results: readonly { readonly text: string; readonly similarity: number | "Infinity" }[];
  };
  readonly sqlite_growth_defect: {
    readonly rows_per_namespace: { readonly default: number };
    readonly c_value_of_rows: number;
  };
  readonly sqlite_cvalue_and_dup: { readonly rows: number; readonly c_values: readonly number[] };
  readonly graph_neighbors: {
    readonly edges: readonly (readonly [string, string])[];
    readonly by_hop: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> & {
      readonly "4": Readonly<Record<string, readonly string[]>>;
    };
    readonly after_removing_b_c_hop2: Readonly<Record<string, readonly string[]>>;
    readonly subgraph_abc: { readonly edges: readonly { readonly source: string; readonly target: string }[] };
  };
  readonly sleep_gc: {
    readonly edges: readonly (readonly [string, string, { readonly weight: number }])[];
    readonly params: { readonly max_degree: number; readonly min_weight: number; readonly decay: number };
    readonly expected: {
      readonly removed_edges: number;
      readonly updated_edges: number;
      readonly removed_nodes: number;
    };
    readonly remaining_edges: readonly (readonly [string, string, number])[];
    readonly remaining_nodes: readonly string[];
  };
}
