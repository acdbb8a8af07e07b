// Statements for Postgres put together piece by piece, each value behind its number. It does not know tables.
import { type Filter, narrowConditions, timeConditions } from "../filter.ts";
import type { Value } from "../postgres.ts";

export class Statement {
  readonly values: Value[] = [];

  /** The value's place: $1, $2 … */
  value(value: Value): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  /** " AND …" for what a filter asks of episode e; nothing for an empty one. */
  filter(filter: Filter): string {
    const { metadata, ...rest } = filter;
    const conditions = [...narrowConditions(rest, "true"), ...timeConditions(rest, "true")];
    let sql = "";
    for (const condition of conditions) {
      let i = 0;
      sql += ` AND ${condition.sql.replace(/\?/g, () => this.value(condition.values[i++] as Value))}`;
    }
    return metadata === undefined ? sql : `${sql} AND e.metadata @> ${this.value(JSON.stringify(metadata))}::jsonb`;
  }
}
