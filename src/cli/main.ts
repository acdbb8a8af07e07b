// The command line's start: finds the command, loads it alone, runs it and turns its outcome into an exit code.
// It does not know what commands do. bin/irori.js imports it; it reads process.argv.
import { IroriError } from "../base/mod.ts";
import { commands, type Entry, type Verbs } from "./commands.ts";
import { overview, usageOf, verbsOverview } from "./help.ts";
import { print, printJson, tell, watchOutput } from "./output.ts";
import { StartUp } from "./start-up.ts";
import { versionHere } from "./version.ts";

const startUp = new StartUp();
startUp.mark("cli loaded");
watchOutput();
process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const end = argv.indexOf("--");
  const isJson = argv.slice(0, end < 0 ? argv.length : end).includes("--json");
  try {
    const at = commandIndex(argv);
    const name = argv[at];
    if (name === undefined) return about(argv, isJson);
    return await runCommand(commands, [name], [...argv.slice(0, at), ...argv.slice(at + 1)]);
  } catch (error) {
    return tell(error, isJson);
  }
}

/** Where the command stands: common options may come before it. */
function commandIndex(argv: readonly string[]): number {
  for (let i = 0; i < argv.length; i++) {
    if (["--threads", "--settings", "--preset", "--set"].includes(argv[i] as string)) i++;
    else if (!argv[i]?.startsWith("-")) return i;
  }
  return -1;
}

function about(argv: readonly string[], isJson: boolean): number {
  const version = versionHere();
  const asked = argv.filter((arg) => arg !== "--json");
  const unknown = asked.find((arg) => !["--help", "-h", "--version", "-v"].includes(arg));
  if (unknown !== undefined)
    throw new IroriError("bad-input", {
      what: "irori",
      got: unknown,
      wanted: "a command first",
      next: "`irori --help` lists them",
    });
  const isVersion = asked.includes("--version") || asked.includes("-v");
  if (isJson) printJson({ version, ...(!isVersion && { commands: Object.keys(commands) }) });
  else print(isVersion ? `${version}\n` : overview(version));
  return 0;
}

/** @param names the command's, and the verb's where it has verbs */
async function runCommand(
  entries: Readonly<Record<string, Entry>>,
  names: readonly string[],
  argv: readonly string[],
): Promise<number> {
  const [before, last = ""] = [names.slice(0, -1), names.at(-1)];
  const entry = Object.hasOwn(entries, last) ? entries[last] : undefined;
  if (entry === undefined)
    throw new IroriError("bad-input", {
      what: ["irori", ...before].join(" "),
      got: JSON.stringify(last),
      wanted: Object.keys(entries).join(", "),
      next: `\`${["irori", ...before, "--help"].join(" ")}\` says what they do`,
    });
  const [command, { parseArguments }] = await Promise.all([entry.load(), import("./arguments.ts")]);
  if ("verbs" in command) return await runVerb(command, names, argv);
  startUp.mark("command loaded");
  const name = names.join(" ");
  const args = parseArguments(name, command, argv);
  if (args.flag("help")) {
    print(await usageOf(name, entry.description, command));
    return 0;
  }
  try {
    return (await command.run({ args, startUp })) ?? 0;
  } finally {
    if (args.flag("profile")) process.stderr.write(startUp.lines());
  }
}

async function runVerb({ verbs }: Verbs, names: readonly string[], argv: readonly string[]): Promise<number> {
  const at = commandIndex(argv);
  const verb = argv[at];
  if (verb !== undefined)
    return await runCommand(verbs, [...names, verb], [...argv.slice(0, at), ...argv.slice(at + 1)]);
  if (!argv.some((arg) => arg === "--help" || arg === "-h"))
    throw new IroriError("bad-input", {
      what: `irori ${names.join(" ")}`,
      got: "nothing after it",
      wanted: Object.keys(verbs).join(", "),
      next: `\`irori ${names.join(" ")} --help\` says what they do`,
    });
  print(verbsOverview(names.join(" "), verbs));
  return 0;
}
