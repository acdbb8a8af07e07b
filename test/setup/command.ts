// The command in processes of their own over one store. It does not know what is tested with it.
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

export const bin = fileURLToPath(new URL("../../bin/irori.js", import.meta.url));
const LIMIT_MS = 120_000;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Given {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface CommandAt {
  environment(more?: Readonly<Record<string, string>>): NodeJS.ProcessEnv;
  irori(args: readonly string[], given?: Given): Outcome;
  /** What it prints with --json, where it ends well and says nothing else. */
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
  json(args: readonly string[], given?: Given): any;
  start(args: readonly string[], given?: Pick<Given, "env">): ChildProcessByStdio<null, Readable, Readable>;
}

export function commandAt(home: string): CommandAt {
  const environment: CommandAt["environment"] = (more = {}) => {
    const { NODE_TEST_CONTEXT: _, IRORI_DEBUG: __, ...rest } = process.env;
    return { ...rest, IRORI_HOME: home, NO_COLOR: "1", ...more };
  };
  const irori: CommandAt["irori"] = (args, { input = "", env = {} } = {}) => {
    const options = { encoding: "utf8", env: environment(env), input, timeout: LIMIT_MS } as const;
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], options);
    return { status, stdout, stderr };
  };
  return {
    environment,
    irori,
    json(args, given) {
      const { status, stdout, stderr } = irori([...args, "--json"], given);
      assert.equal(status, 0, stderr + stdout);
      assert.equal(stderr, "");
      assert.equal(stdout.indexOf("\n"), stdout.length - 1, "one line");
      return JSON.parse(stdout);
    },
    start: (args, { env = {} } = {}) =>
      spawn(process.execPath, [bin, ...args], {
        env: environment(env),
        stdio: ["ignore", "pipe", "pipe"],
        timeout: LIMIT_MS,
      }),
  };
}
