// `irori memory import|migrate|export|backup`: what is carried into a memory and out of it. It does not know formats.
import { resolve } from "node:path";
import { exportMemory, importPaths, isExport, migrate, restoreMemory } from "../../memory/mod.ts";
import type { Command } from "../command.ts";
import { listenForStop, print, printJson, say } from "../output.ts";
import { showProgress } from "../progress.ts";
import { memoryArgs, openMemory, scopeArgs, scopeOf } from "./open.ts";

export const importFiles: Command = {
  args: {
    path: { type: "positional", description: "A file or a folder; a folder that `export` wrote comes back as it was" },
    ...{ ...memoryArgs, ...scopeArgs },
    link: { type: "boolean", default: true, description: "Leave linking to `maintain`: for bulk" },
  },
  async run(call) {
    const { args } = call;
    const path = resolve(args.needed("path"));
    using stop = listenForStop();
    await using open = await openMemory(call);
    using progress = showProgress(args.flag("json"));
    const shared = { signal: stop.signal, onProgress: progress.onProgress };
    const { parts } = open.memory;
    if (await isExport(path)) {
      const restored = await restoreMemory(parts, path, shared);
      if (args.flag("json")) printJson(restored);
      else {
        for (const reason of restored.refused) say(`refused: ${reason}`);
        print(
          `${restored.episodes} episodes, ${restored.concepts} concepts, ${restored.links} links; ${restored.known} were here already\n`,
        );
      }
      return undefined;
    }
    const imported = await importPaths(parts, [path], { ...scopeOf(args), isLinked: args.flag("link"), ...shared });
    progress[Symbol.dispose]();
    if (args.flag("json")) printJson(imported);
    else {
      for (const { uri, as, added, repeats, ended, refused } of imported.files) {
        print(
          `${as.padEnd(8)} ${uri}: ${added} new${repeats > 0 ? `, ${repeats} known` : ""}${ended > 0 ? `, ${ended} ended` : ""}\n`,
        );
        for (const reason of refused) say(`  refused: ${reason}`);
      }
      print(`${imported.added} episodes from ${imported.files.length} files\n`);
    }
    return imported.files.length > 0 && imported.files.every(({ as }) => as === "refused") ? 3 : undefined;
  },
};

export const migrateFolder: Command = {
  args: {
    folder: { type: "positional", description: "Where InsightSpike kept its data" },
    ...memoryArgs,
    "dry-run": { type: "boolean", description: "Read and tell everything, write nothing" },
    "keep-vectors": { type: "boolean", description: "Take the old vectors over (only where the embedder is the same)" },
  },
  async run(call) {
    const { args } = call;
    using stop = listenForStop();
    await using open = await openMemory(call);
    using progress = showProgress(args.flag("json"));
    const options = {
      dryRun: args.flag("dry-run"),
      keepVectors: args.flag("keep-vectors"),
      signal: stop.signal,
      onProgress: progress.onProgress,
    };
    const found = await migrate(open.memory.parts, resolve(args.needed("folder")), options);
    progress[Symbol.dispose]();
    if (args.flag("json")) printJson({ ...found, isDryRun: options.dryRun });
    else {
      for (const { path, format, episodes, nodes, links, vectors, refused } of found.files) {
        print(
          `${format.padEnd(8)} ${path}: ${episodes} episodes, ${nodes} nodes, ${links} links, ${vectors} vectors, ${refused.length} refused\n`,
        );
        for (const reason of refused) say(`  refused: ${reason}`);
      }
      print(`${options.dryRun ? "nothing was written; " : ""}${found.added} episodes added\n`);
    }
    return undefined;
  },
};

export const exportFolder: Command = {
  args: { folder: { type: "positional", description: "A folder that is not there yet, or empty" }, ...memoryArgs },
  async run(call) {
    const { args } = call;
    using stop = listenForStop();
    await using open = await openMemory(call, { mustExist: true });
    using progress = showProgress(args.flag("json"));
    const done = await exportMemory(open.memory.parts, resolve(args.needed("folder")), {
      signal: stop.signal,
      onProgress: progress.onProgress,
    });
    if (args.flag("json")) printJson(done);
    else
      print(
        `${done.path}: ${done.episodes} episodes, ${done.concepts} concepts, ${done.links} links, ${done.records} records\n`,
      );
    return undefined;
  },
};

export const backup: Command = {
  args: { file: { type: "positional", description: "The copy" }, ...memoryArgs },
  async run(call) {
    await using open = await openMemory(call, { mustExist: true });
    const path = resolve(call.args.needed("file"));
    await open.store.backup(path);
    const { episodes } = await open.memory.stats();
    if (call.args.flag("json")) printJson({ path, isWhole: true });
    else print(`${path}: a whole copy, ${episodes} episodes in ${open.memory.namespace}\n`);
    return undefined;
  },
};
