// `npm run demo`: fetches a small model into the store, prepares it, asks it one question, tells the figures, shows a memory, and serves the model
// to an official client.
// Run again, it opens what is there. It uses the engine as a program would and knows nothing of its insides.
import { readFileSync } from "node:fs";
import { streamAnswer } from "../src/cli/answer.ts";
import { exitCodeOf } from "../src/cli/exit-codes.ts";
import { listenForStop, print, say, tell, watchOutput } from "../src/cli/output.ts";
import { showProgress } from "../src/cli/progress.ts";
import { openEngine } from "../src/machine.ts";
import { demoMemory } from "./demo-memory.ts";
import { demoServer } from "./demo-server.ts";

const MODEL = "smollm2-135m";
const QUESTION = "What is a hearth, and why do people gather around it?";

/** Memory of this process that nobody else can use (Linux; elsewhere all of its resident memory). */
function memoryText(): string {
  const kilobytes =
    process.platform === "linux" && /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  if (kilobytes) return `${(Number(kilobytes) / 1000).toFixed(0)} MB of private memory`;
  return `${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB of memory, mapped weights included`;
}

async function demo(): Promise<number> {
  using stop = listenForStop();
  const { signal } = stop;
  await using engine = await openEngine();
  const stored = await engine.store.find(MODEL);
  const isReady = stored !== undefined && (await engine.store.hasPrepared(stored, "blocks"));
  if (!isReady) say(`${MODEL} is fetched into ${engine.store.home} and prepared: once, 98 MB`);
  const start = performance.now();
  using progress = showProgress(false);
  await using lease = await engine.lease(MODEL, { signal, onProgress: progress.onProgress });
  await lease.warm();
  progress[Symbol.dispose]();
  const openMs = performance.now() - start;
  print(`${MODEL} ${isReady ? "" : "fetched, prepared and "}opened in ${openMs.toFixed(0)} ms\n\n> ${QUESTION}\n\n`);

  const prompt = { messages: [{ role: "user", content: QUESTION }] };
  const request = { prompt, seed: 0, maxTokens: 100, sampling: { temperature: 0 } };
  const { ids, timings, stop: reason } = await streamAnswer(lease, request, { signal });
  const first = `first token ${timings.prefillMs.toFixed(0)} ms after the question`;
  print(`\n${first} · ${timings.tokensPerSecond.toFixed(0)} tokens/s over ${ids.length} tokens · ${memoryText()}\n`);
  if (reason !== "cancelled") await demoMemory();
  if (reason !== "cancelled") await demoServer(MODEL, "Name three things that keep a house warm.", signal);
  print(`\nNext: node bin/irori.js run ${MODEL}   (a chat; node bin/irori.js --help lists the rest)\n`);
  return reason === "cancelled" ? exitCodeOf("cancelled") : 0;
}

watchOutput();
try {
  process.exitCode = await demo();
} catch (error) {
  process.exitCode = tell(error, false);
}
