// A server of scripted answers over a file of jobs, as a process that a test may kill. It prints its URL and does not know the test.
// Arguments: the file, milliseconds a word.
import { startServer } from "../../src/serve/mod.ts";
import { ScriptedHost } from "./scripted-host.ts";

const [workFile = "", stepMs = "5"] = process.argv.slice(2);
const host = new ScriptedHost({ stepMs: Number(stepMs) });
const server = await startServer({ host, models: ["one"], port: 0, version: "0", lanes: { slots: 4 }, workFile });
process.stdout.write(`${server.url}\n`);
process.on("SIGTERM", () => void server[Symbol.asyncDispose]());
