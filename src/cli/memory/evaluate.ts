// `irori memory eval NAME`: an experiment over memories of its own, its results kept so that a stopped one goes on.
// It does not know experiments.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { IroriError } from "../../base/mod.ts";
import { EVALUATIONS, runEvaluation } from "../../memory/mod.ts";
import type { Command } from "../command.ts";
import { listenForStop, print, printJson } from "../output.ts";
import { showProgress } from "../progress.ts";
import { memoryArgs, withModels } from "./open.ts";

export const evaluate: Command = {
  args: {
    name: { type: "positional", description: EVALUATIONS.join(", ") },
    embedder: memoryArgs.embedder,
    writer: memoryArgs.writer,
    data: {
      type: "string",
      valueHint: "FILE",
      description: "Data of others in the published layout; a second one where it needs two",
    },
    seed: { type: "string", valueHint: "N", description: "Default 1" },
    out: {
      type: "string",
      valueHint: "FOLDER",
      description: "Keep results and the report here; a stopped run goes on",
    },
  },
  async run(call) {
    const { args } = call;
    const name = args.needed("name");
    if (!EVALUATIONS.some((one) => one === name))
      throw new IroriError("bad-input", {
        what: "an experiment",
        got: JSON.stringify(name),
        wanted: EVALUATIONS.join(", "),
      });
    using stop = listenForStop();
    using progress = showProgress(args.flag("json"));
    const { version } = createRequire(import.meta.url)("../../../package.json") as { version: string };
    const { report, results } = await withModels(call, ({ embedder, writer }) =>
      runEvaluation(
        name,
        {
          ...{ embedder, writer, now: () => performance.now() },
          seed: args.number("seed", { isWhole: true, min: 0 }) ?? 1,
          data: args.texts("data").map((path) => readFileSync(path, "utf8")),
        },
        {
          folder: args.text("out"),
          versions: { Irori: version, Node: process.version },
          ...{ signal: stop.signal, onProgress: progress.onProgress },
        },
      ),
    );
    progress[Symbol.dispose]();
    if (args.flag("json")) printJson({ report, results });
    else print(report);
    return undefined;
  },
};
