// From exec to the first byte: starts a command as a new process and watches its standard output. It does not know the command.
import { spawn } from "node:child_process";
import { IroriError } from "../src/base/mod.ts";

export interface ColdRun {
  /** From the start of the process to the first byte that it wrote. */
  readonly firstByteMs: number;
  /** … to its end. */
  readonly exitMs: number;
  readonly output: string;
}

/** Throws "library" with what the command said where it fails or writes nothing. */
export function coldRun(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ColdRun> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let output = "";
    let errors = "";
    let firstByteMs: number | undefined;
    child.stdout.on("data", (piece) => {
      firstByteMs ??= performance.now() - start;
      output += piece;
    });
    child.stderr.on("data", (piece) => {
      errors += piece;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const exitMs = performance.now() - start;
      if (code === 0 && firstByteMs !== undefined) resolve({ firstByteMs, exitMs, output });
      else
        reject(
          new IroriError("library", {
            what: `node ${args.slice(0, 3).join(" ")} … failed`,
            got: `code ${code}, ${errors.trim().split("\n").at(-1) || "no output"}`,
          }),
        );
    });
  });
}
