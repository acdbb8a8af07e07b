// Collecting garbage when a test says so. It does not know what is measured then.
import { setTimeout as wait } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What nobody can reach is gone, and what was to run then has run: in a later task, more than once. */
export async function collected(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await wait(20);
    collect();
  }
  await wait(10);
}
