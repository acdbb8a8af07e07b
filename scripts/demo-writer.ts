// Writes into a memory until it is killed, and tells each write's id once it is durable. It does not know who kills it.
import { writeSync } from "node:fs";
import { openMemory } from "../src/machine.ts";

await using memory = await openMemory({ file: process.argv[2] });
for (let i = 0; ; i++)
  for (const { id } of await memory.remember(`Line ${i} of a long letter about house ${i % 7}.`, { insight: false }))
    writeSync(1, `${id}\n`);
