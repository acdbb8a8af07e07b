// `irori memory stats|doctor|maintain|reindex`: how a memory is, and how it is kept well. It does not know tables.
import { existsSync, statSync } from "node:fs";
import { IroriError } from "../../base/mod.ts";
import { megabytes } from "../../engine/mod.ts";
import { reindex, SLEEP_FADE } from "../../memory/mod.ts";
import type { Command } from "../command.ts";
import { columns, listenForStop, print, printJson } from "../output.ts";
import { showProgress } from "../progress.ts";
import { embedderAt, memoryArgs, noMemory, openMemory, openStore, placeOf, withModels } from "./open.ts";

export const stats: Command = {
  args: memoryArgs,
  async run(call) {
    await using open = await openMemory(call, { mustExist: true });
    const { store } = open;
    const namespaces = await store.namespaces();
    const all = await Promise.all(namespaces.map((name) => store.stats(name)));
    const { place, kind, embedder } = store.info;
    const bytes = kind === "sqlite" && existsSync(place) ? statSync(place).size : undefined;
    if (call.args.flag("json")) {
      printJson({ place, kind, embedder: { id: embedder.id, dims: embedder.dims }, bytes, namespaces: all });
      return undefined;
    }
    print(
      `${place} (${kind}${bytes === undefined ? "" : `, ${megabytes(bytes)}`}), vectors of ${embedder.id}, ${embedder.dims} numbers\n`,
    );
    const rows = all.map((one) => [
      one.namespace,
      `${one.episodes}`,
      `${one.concepts}`,
      `${one.links}`,
      `${one.records.spike ?? 0}`,
    ]);
    print(columns([["namespace", "episodes", "concepts", "links", "insights"], ...rows], [1, 2, 3, 4]));
    return undefined;
  },
};

export const doctor: Command = {
  args: {
    ...memoryArgs,
    repair: { type: "boolean", description: "Make indexes and counts anew where they do not fit" },
  },
  async run(call) {
    const { args } = call;
    await using open = await openMemory(call, { mustExist: true });
    const found = await open.store.check({ repair: args.flag("repair") });
    const index = await open.store.checkIndex(open.memory.namespace, 20, 1);
    const isWell = found.every(({ isFine, repaired }) => isFine || repaired !== undefined);
    if (args.flag("json")) printJson({ isWell, invariants: found, index });
    else {
      for (const { name, isFine, found: what, repaired } of found)
        print(
          `${isFine ? "fine " : repaired === undefined ? "WRONG" : "fixed"}  ${name}: ${what}${repaired === undefined ? "" : `; ${repaired}`}\n`,
        );
      print(
        `fine   recall of the index on ${index.samples} stored vectors: ${index.recall.toFixed(3)} with ${index.nextProbes} lists\n`,
      );
    }
    return isWell ? undefined : 3;
  },
};

export const maintain: Command = {
  args: {
    ...memoryArgs,
    fade: { type: "boolean", description: "Let links fade as the original's sleep does (weight x .98, twelve a node)" },
    prune: { type: "boolean", description: "Remove episodes older than 90 days that are not pinned" },
  },
  async run(call) {
    const { args } = call;
    using stop = listenForStop();
    await using open = await openMemory(call, { mustExist: true });
    using progress = showProgress(args.flag("json"));
    const done = await open.memory.maintain({
      ...{ signal: stop.signal, onProgress: progress.onProgress },
      fade: args.flag("fade") ? SLEEP_FADE : undefined,
      prune: args.flag("prune") ? true : undefined,
    });
    progress[Symbol.dispose]();
    if (args.flag("json")) printJson(done);
    else
      print(
        `${done.expired} expired, ${done.pruned} pruned, ${done.linked} linked, ${done.tidied} pieces of upkeep; recall of the index ${done.index.recall.toFixed(3)}\n`,
      );
    return undefined;
  },
};

export const reindexStore: Command = {
  args: memoryArgs,
  async run(call) {
    const { args } = call;
    const place = placeOf(call);
    const name = args.text("embedder");
    if (name === undefined)
      throw new IroriError("bad-input", {
        what: "irori memory reindex",
        got: "no --embedder",
        next: "name the embedder that the store is to get",
      });
    const known = await embedderAt(place);
    if (known === undefined) throw noMemory(place);
    using stop = listenForStop();
    const done = await withModels(call, async ({ embedder }) => {
      await using store = await openStore(place, known);
      using progress = showProgress(args.flag("json"));
      return await reindex(store, embedder, { signal: stop.signal, onProgress: progress.onProgress });
    });
    if (args.flag("json")) printJson({ embedded: done, embedder: name });
    else print(`${done} episodes embedded by ${name}\n`);
    return undefined;
  },
};
