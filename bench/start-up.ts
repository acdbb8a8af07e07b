// `node bench/start-up.ts`: the three figures of a program that experiments: the first experiment of a process after `setup`, another
// in the same process, and one with a mock. Each a process of its own, interleaved.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { homeFolder, openEngine } from "../src/machine.ts";
import { coldRun } from "./cold.ts";
import { type Figure, measured, table, US } from "./figures.ts";
import { machine } from "./machine.ts";

const { values } = parseArgs({ options: { home: { type: "string" }, rounds: { type: "string", default: "7" } } });
const home = values.home ?? homeFolder();
const side = fileURLToPath(new URL("sides/experiment.ts", import.meta.url));

interface Told {
  readonly ms: number;
  readonly loads: readonly string[];
}

async function run(preset: string): Promise<{ readonly first: number; readonly second: Told }> {
  const { output, exitMs } = await coldRun([side, preset], { IRORI_HOME: home });
  const [first, second] = JSON.parse(output) as [Told, Told];
  // the process counts from when it began, which exec and its end bracket
  return { first: Math.min(first.ms, exitMs), second };
}

/** What `irori setup local` does: pulled, prepared and packed beforehand. */
{
  await using engine = await openEngine({ home });
  for (const model of ["smollm2-135m", "all-minilm-l6-v2"]) await (await engine.lease(model)).warm();
}
const samples: Record<"first" | "second" | "mock", number[]> = { first: [], second: [], mock: [] };
const loads = new Set<string>();
for (let round = -1; round < Number(values.rounds); round++) {
  const [local, mock] = [await run("local"), await run("quick_experiment")];
  if (round < 0) continue;
  samples.first.push(local.first);
  samples.second.push(local.second.ms);
  samples.mock.push(mock.first);
  for (const load of [...local.second.loads, ...mock.second.loads]) loads.add(load);
}
const time = { unit: "ms", better: "less" } as const;
const figures: Figure[] = [
  {
    name: "first experiment of a process",
    ...time,
    samples: { [US]: samples.first },
    limit: 1000,
    note: "from exec, MiniLM and SmolLM2 prepared (10 s in the document)",
  },
  {
    name: "second in the same process",
    ...time,
    samples: { [US]: samples.second },
    note: `loads and compiles meanwhile: ${[...loads].join(", ") || "none"}`,
  },
  {
    name: "first experiment with a mock",
    ...time,
    samples: { [US]: samples.mock },
    limit: 1000,
    note: "from exec (1 s in the document)",
  },
];
const { cpu, cores } = machine();
console.log(`${cpu}, ${cores} cores; median (minimum–maximum) of ${values.rounds} processes each\n`);
console.log(table(figures.map(measured)));
