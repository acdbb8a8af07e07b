// Insights of InsightSpike's insight_facts.db. It does not know what becomes of them.
import { IroriError } from "../../base/mod.ts";
import { Connection } from "../sqlite.ts";

export interface LegacyInsight {
  readonly id: string;
  readonly text: string;
  readonly confidence: number;
  readonly sourceConcepts: readonly string[];
  readonly targetConcepts: readonly string[];
  readonly at: number;
  readonly status: string;
}

/** Throws "bad-file" for a database without that table. */
export function readFacts(path: string): LegacyInsight[] {
  const connection = new Connection({ path, isReadOnly: true, patienceMs: 5_000, cacheBytes: 2_000_000 });
  try {
    const isThere =
      connection.sql("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'insights'").cell<number>() ===
      1;
    if (!isThere)
      throw new IroriError("bad-file", {
        what: `${path} has no table "insights"`,
        wanted: "a database of InsightSpike's facts",
      });
    const rows = connection
      .sql(
        "SELECT id, text, confidence, source_concepts, target_concepts, generated_at, coalesce(validation_status, 'pending') FROM insights ORDER BY id",
      )
      .all() as [string, string, number, string, string, number, string][];
    return rows.map(([id, text, confidence, source, target, at, status]) => ({
      ...{ id, text, confidence, at: Math.round(at * 1000), status },
      ...{ sourceConcepts: namesIn(source), targetConcepts: namesIn(target) },
    }));
  } finally {
    connection.close();
  }
}

function namesIn(json: string): string[] {
  try {
    const value: unknown = JSON.parse(json);
    return Array.isArray(value) ? value.map(String) : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [json]; // a bare name
    throw error;
  }
}
