// `irori bench MODEL`: hands over to bench/run.ts, which a checkout has and an installed package has not.
// It does not know what is measured.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Call, Command } from "./command.ts";
import { settingsOf } from "./settings.ts";

const args = {
  model: { type: "positional", description: "Name or source of the model" },
  against: { type: "string", valueHint: "llama.cpp", description: "Measure this peer too, installed where it is not" },
  rounds: { type: "string", valueHint: "N", description: "Measurements of each figure (default 9)" },
  only: { type: "string", valueHint: "GROUP", description: "Only this group of figures; may be repeated" },
} as const satisfies ArgsDef;

export const bench: Command = { args, run: runBench };

interface BenchOptions {
  readonly model: string;
  readonly json: boolean;
  readonly home: string;
  readonly spinning: boolean;
  readonly against?: string | undefined;
  readonly threads?: number | undefined;
  readonly rounds?: number | undefined;
  readonly only?: readonly string[] | undefined;
}

async function runBench(call: Call): Promise<number> {
  const { args } = call;
  const file = new URL("../../bench/run.ts", import.meta.url);
  if (!existsSync(file))
    throw new IroriError("unsupported", {
      what: `irori bench needs a checkout of Irori: ${fileURLToPath(file)} does not exist`,
      next: "clone the repository and run it there",
    });
  const measure: { runBench(options: BenchOptions): Promise<number> } = await import(file.href);
  const { settings, all } = settingsOf(call);
  const areThreadsSaid = all.some(({ key, source }) => key === "threads" && source !== "default");
  const only = args.texts("only");
  return measure.runBench({
    model: args.needed("model"),
    json: args.flag("json"),
    home: settings.home,
    spinning: settings.spin,
    against: args.text("against"),
    threads: areThreadsSaid ? settings.threads : undefined,
    rounds: args.number("rounds", { isWhole: true, min: 1 }),
    only: only.length > 0 ? only : undefined,
  });
}
