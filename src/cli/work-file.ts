// Where the store keeps long work: jobs, and finished parts of summaries. It does not know what is in it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";

export function workFileIn(home: string): string {
  mkdirSync(home, { recursive: true });
  return join(home, "work.db");
}
