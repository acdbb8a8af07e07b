// Python environments of the peers, made once from their list of packages. It does not know what is measured.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { IroriError } from "../src/base/mod.ts";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("peers/", import.meta.url));

/** The interpreter of an environment with the packages of `NAME.txt`, made where it is missing. */
export async function pythonOf(name: string, say: (text: string) => void): Promise<string> {
  const list = join(folder, "python", `${name}.txt`);
  const wanted = createHash("sha256").update(readFileSync(list)).digest("hex");
  const environment = join(folder, ".cache", name);
  const [python, stamp] = [join(environment, "bin", "python"), join(environment, ".irori-stamp")];
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return python;
  say(
    `installing ${name} into bench/peers/.cache (once; where torch comes with it 6 GB, most of it GPU libraries that are not used) …`,
  );
  rmSync(environment, { recursive: true, force: true });
  try {
    await run("python3", ["-m", "venv", environment]);
    await run(python, ["-m", "pip", "install", "--quiet", "--requirement", list], { maxBuffer: 2 ** 26 });
  } catch (error) {
    throw new IroriError("io", {
      what: `${name} could not be installed`,
      got: (error as Error).message.trim().split("\n").slice(0, 3).join(" "),
      next: "check python3 and the registry, or measure without it (--alone)",
      cause: error,
    });
  }
  writeFileSync(stamp, wanted);
  return python;
}
