// `irori memory correct|forget|history`: what was remembered put right or forgotten. It does not know how a store does it.
import { confirm, isCancel } from "@clack/prompts";
import { IroriError } from "../../base/mod.ts";
import type { Command } from "../command.ts";
import { print, printJson } from "../output.ts";
import { memoryArgs, momentOf, openMemory, scopeArgs, scopeOf } from "./open.ts";
import { plainEpisode, short } from "./tell.ts";

export const correct: Command = {
  args: {
    id: { type: "positional", description: "The episode that is wrong, or no longer right" },
    text: { type: "positional", description: "What is right" },
    ...memoryArgs,
    since: {
      type: "string",
      valueHint: "WHEN",
      description: "The world changed then; without it the old text never held",
    },
  },
  async run(call) {
    const { args } = call;
    await using open = await openMemory(call, { mustExist: true });
    const { old, correction } = await open.memory.correct(args.needed("id"), args.needed("text"), {
      since: momentOf(args, "since"),
    });
    if (args.flag("json")) printJson({ old: plainEpisode(old), correction: plainEpisode(correction) });
    else print(`${correction.id}  takes the place of ${old.id}: ${short(correction.text)}\n`);
    return undefined;
  },
};

export const history: Command = {
  args: { id: { type: "positional", description: "An episode" }, ...memoryArgs },
  async run(call) {
    await using open = await openMemory(call, { mustExist: true });
    const all = await open.memory.history(call.args.needed("id"));
    if (call.args.flag("json")) printJson({ history: all.map(plainEpisode) });
    else
      for (const { id, text, recordedAt, isRetracted, validTo } of all)
        print(
          `${new Date(recordedAt).toISOString().slice(0, 16)}  ${id}  ${isRetracted ? "never held: " : validTo === undefined ? "" : `until ${new Date(validTo).toISOString().slice(0, 10)}: `}${short(text)}\n`,
        );
    return undefined;
  },
};

export const forget: Command = {
  args: {
    id: { type: "positional", required: false, description: "An episode" },
    ...{ ...memoryArgs, ...scopeArgs },
    about: { type: "string", valueHint: "NAME", description: "Everything that mentions this: a person, a project" },
    uri: { type: "string", valueHint: "URI", description: "Everything from this source" },
    "dry-run": { type: "boolean", description: "Only tell how much it would be" },
    yes: { type: "boolean", alias: "y", description: "Do not ask" },
  },
  async run(call) {
    const { args } = call;
    const id = args.positional("id");
    const what = {
      ...scopeOf(args),
      about: args.text("about"),
      uri: args.text("uri"),
      ...(id !== undefined && { ids: [id] }),
    };
    await using open = await openMemory(call, { mustExist: true });
    const planned = await open.memory.forget(what, { dryRun: true });
    const isDry = args.flag("dry-run");
    if (!isDry && !args.flag("yes") && planned.episodes > 0) {
      if (args.flag("json") || process.stdin.isTTY !== true)
        throw new IroriError("bad-input", {
          what: `${planned.episodes} episodes would be forgotten for good`,
          next: "add --yes, or --dry-run to look first",
        });
      const isSure = await confirm({
        message: `Forget ${planned.episodes} episodes and ${planned.questions} questions for good?`,
      });
      if (isSure !== true || isCancel(isSure)) return undefined;
    }
    const done = isDry ? planned : await open.memory.forget(what);
    if (args.flag("json")) printJson({ ...done, isDryRun: isDry });
    else print(`${isDry ? "would forget" : "forgot"} ${done.episodes} episodes and ${done.questions} questions\n`);
    return undefined;
  },
};
