// Takes over a saved chat of the real model and goes on from it, as JSON: run in a process of its own by the tests.
import { Engine } from "../../src/engine/mod.ts";
import { answerTo } from "./answers.ts";

const [home, path, request] = process.argv.slice(2) as [string, string, string];
await using engine = await Engine.open({ home, threads: 2, spinning: false, budgetBytes: () => 8e9, now: () => 0 });
await using lease = await engine.lease("smollm2-135m");
await lease.restoreChat(path);
const { ids, reusedTokens, text } = await answerTo(lease, JSON.parse(request));
console.log(JSON.stringify({ ids, reusedTokens, text }));
