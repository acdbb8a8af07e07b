// What a command is, and the options that every command takes.
// It does not know which commands there are.
import type { ArgsDef } from "citty";
import type { Arguments } from "./arguments.ts";
import type { StartUp } from "./start-up.ts";

export interface Call {
  readonly args: Arguments;
  readonly startUp: StartUp;
}

export interface Command {
  /** Positional arguments and options, without the common ones; strings may be given more than once. */
  readonly args: ArgsDef;
  /** Any number of arguments behind the positional ones, by the name of one of them. */
  readonly rest?: { readonly name: string; readonly description: string };
  /** Does the work; the exit code where it is not 0. Throws IroriErrors. */
  readonly run: (call: Call) => Promise<number | undefined>;
}

export const commonArgs = {
  json: { type: "boolean", description: "Print one JSON value to stdout, errors too" },
  profile: { type: "boolean", description: "Print to stderr what every start-up step took" },
  settings: {
    type: "string",
    valueHint: "FILE",
    description: "The settings file (default: settings.json in the store)",
  },
  preset: {
    type: "string",
    valueHint: "NAME",
    description: "Settings by one name: `irori settings presets` lists them",
  },
  set: { type: "string", valueHint: "KEY=VALUE", description: "Set one setting; may be repeated" },
  threads: { type: "string", valueHint: "N", description: "Threads of a run (default: the machine's, 8 at most)" },
  spin: {
    type: "boolean",
    default: true,
    description: "Let idle threads sleep: slower alone, kinder to other programs",
  },
  help: { type: "boolean", alias: "h", description: "Print this" },
} as const satisfies ArgsDef;
