// A process that pulls and prepares one model, for tests that run several and kill them.
// Arguments: home, python, source. Prints the model's path.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Store } from "../src/checkpoint/mod.ts";

const [home, python, source] = process.argv.slice(2) as [string, string, string];
const store = await Store.open(home);
const model = await store.pull(source, { python });
await store.writePrepared(model, "f32", async (folder) => {
  await writeFile(join(home, "writes"), "x", { flag: "a" });
  for (let i = 0; i < 10; i++) {
    await writeFile(join(folder, `tensor-${i}`), Buffer.alloc(10_000, i));
    await sleep(30);
  }
});
console.log(model.path);
