// An experiment as it is run and written down: its config, seed and versions, one result an item kept as soon as it is
// there (so that a stopped run goes on), and a report in Markdown made from the results alone. It does not know what is tried.
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cancelled, IroriError, type OnProgress } from "../../base/mod.ts";
import type { Json } from "../episode.ts";

export interface Experiment<Item extends { readonly id: string }, Result> {
  readonly name: string;
  /** Everything that its results depend on beside the code. */
  readonly config: Readonly<Record<string, Json>>;
  readonly items: () => readonly Item[];
  /** What one item gives; plain data. */
  readonly run: (item: Item, signal: AbortSignal | undefined) => Promise<Result>;
  /** Markdown, without a title. */
  readonly report: (results: readonly (Result & { readonly id: string })[]) => string;
}

export interface ExperimentOptions {
  /** Where config.json, results.jsonl and report.md are kept. Absent: nothing is kept. */
  readonly folder?: string | undefined;
  /** What made the results: versions of Irori, Node, models. */
  readonly versions: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** The report. Throws "conflict" where the folder holds another experiment's results. */
export async function runExperiment<Item extends { readonly id: string }, Result>(
  experiment: Experiment<Item, Result>,
  { folder, versions, signal, onProgress }: ExperimentOptions,
): Promise<{ readonly report: string; readonly results: readonly (Result & { readonly id: string })[] }> {
  const { name, config } = experiment;
  const about = `${JSON.stringify({ name, config, versions }, undefined, 2)}\n`;
  const kept = folder === undefined ? new Map<string, Result & { id: string }>() : resume(folder, about);
  const items = experiment.items();
  for (const [i, item] of items.entries()) {
    onProgress?.({ step: "evaluate", item: item.id, done: i, total: items.length, unit: "steps" });
    if (kept.has(item.id)) continue;
    if (signal?.aborted) throw cancelled(`the experiment ${name}`, signal);
    const result = { ...(await experiment.run(item, signal)), id: item.id };
    kept.set(item.id, result);
    if (folder !== undefined) appendFileSync(join(folder, "results.jsonl"), `${JSON.stringify(result)}\n`);
  }
  const results = items.map(({ id }) => kept.get(id) as Result & { id: string });
  const report = `# ${name}\n\n${experiment.report(results)}\n\n${madeWith(config, versions)}`;
  if (folder !== undefined) writeFileSync(join(folder, "report.md"), report);
  return { report, results };
}

function resume<Result>(folder: string, about: string): Map<string, Result & { id: string }> {
  mkdirSync(folder, { recursive: true });
  const [config, results] = [join(folder, "config.json"), join(folder, "results.jsonl")];
  if (existsSync(config) && readFileSync(config, "utf8") !== about)
    throw new IroriError("conflict", {
      what: `${folder} holds the results of another experiment, or of other versions`,
      next: "name another folder",
    });
  writeFileSync(config, about);
  if (!existsSync(results)) return new Map();
  const lines = readFileSync(results, "utf8").split("\n");
  lines.pop(); // empty, or cut off when a run was killed: that item is run again
  writeFileSync(results, lines.map((line) => `${line}\n`).join(""));
  const all = lines.map((line) => JSON.parse(line) as Result & { id: string });
  return new Map(all.map((result) => [result.id, result]));
}

const madeWith = (config: object, versions: object): string =>
  `Config: \`${JSON.stringify(config)}\`. Made with: ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")}.\n`;

/** Rows as a Markdown table; numbers with three decimals where they are no counts. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) =>
    typeof value === "string" ? value : Number.isInteger(value) ? String(value) : value.toFixed(3);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map((row) => line(row.map(cell)))].join("\n");
}
