// A bench of groups of figures: measures those that are asked for and prints them, as a table or as JSON, with the machine, versions
// and its load. It does not know how anything is measured.
import { loadavg } from "node:os";
import { IroriError } from "../src/base/mod.ts";
import { type Figure, measured, table } from "./figures.ts";
import { machine, ownVersions } from "./machine.ts";

export interface Bench {
  /** What stands over the table. */
  readonly title: string;
  readonly groups: Readonly<Record<string, () => Promise<Figure[]>>>;
  /** Names of groups. */
  readonly only: readonly string[];
  /** Of the peers, known once they have been measured. */
  readonly versions: Readonly<Record<string, string>>;
  readonly isJson: boolean;
}

export const say = (text: string): void => console.error(`irori: ${text}`);

export async function report({ title, groups, only, versions, isJson }: Bench): Promise<void> {
  const figures: Figure[] = [];
  const load = [loadavg()[0]];
  for (const name of only) {
    const group = groups[name];
    if (group === undefined)
      throw new IroriError("bad-input", { what: "no such figure", got: name, wanted: Object.keys(groups).join(", ") });
    say(`measuring ${name} …`);
    figures.push(...(await group()));
    load.push(loadavg()[0]);
  }
  const all = { machine: machine(), versions: { ...ownVersions(), ...versions }, load, figures: figures.map(measured) };
  if (isJson) return console.log(JSON.stringify(all, null, 2));
  const { cpu, cores, flags } = all.machine;
  console.log(`${title}; median (minimum–maximum)`);
  console.log(`${cpu}, ${cores} cores; ${flags.join(" ")}`);
  console.log(
    Object.entries(all.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
  );
  console.log(`load of the machine meanwhile: ${load.map((one) => one?.toFixed(1)).join(", ")}\n`);
  console.log(table(all.figures));
}

/** Ends a bench with one sentence where something cannot be measured. */
export function orSentence(error: unknown): void {
  if (!(error instanceof IroriError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
