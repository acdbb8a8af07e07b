// Installs the peers' own package from its lock file: nothing of it enters the root's. It does not know what is measured.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IroriError } from "../src/base/mod.ts";

const folder = fileURLToPath(new URL("peers/", import.meta.url));
const stamp = join(folder, "node_modules", ".irori-stamp");

/** The peers that `against` can name, and the module of each that does the work. */
export const PEERS: Readonly<
  Record<string, { readonly side: string; readonly cold: string; readonly package: string }>
> = {
  "llama.cpp": {
    side: "peers/llama-cpp.mjs",
    cold: join(folder, "llama-cpp-cold.mjs"),
    package: "node-llama-cpp",
  },
};

export const peerVersion = (name: string): string =>
  (JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;

/** `npm ci` in bench/peers, once per lock file, without install scripts: prebuilt binaries come as packages. */
export async function installPeers(say: (text: string) => void): Promise<void> {
  const wanted = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  say("installing the peers into bench/peers (once; 0.7 GB) …");
  const { code, output } = await npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (code !== 0)
    throw new IroriError("io", {
      what: "the peer could not be installed: npm ci in bench/peers failed",
      got: output.trim().split("\n").slice(0, 3).join(" ") || `exit code ${code}`,
      next: "check the registry, or run irori bench without --against",
    });
  writeFileSync(stamp, wanted);
}

function npm(args: readonly string[]): Promise<{ code: number; output: string }> {
  const isWindows = process.platform === "win32";
  const child = spawn(isWindows ? "npm.cmd" : "npm", args, { cwd: folder, shell: isWindows });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (piece) => {
      output += piece;
    });
  }
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: 1, output: error.message }));
    child.on("exit", (code) => resolve({ code: code ?? 1, output }));
  });
}
