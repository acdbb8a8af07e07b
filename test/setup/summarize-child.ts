// Summarises a text with a script that writes slowly, as a process that a test kills. Every answer that is asked for is a line of a log.
// Arguments: the text, the file of finished parts, the log.
import { appendFileSync, readFileSync } from "node:fs";
import { openSummarizer, summarize } from "../../src/serve/mod.ts";
import { ScriptedHost } from "./scripted-host.ts";
import { honest, seenOf } from "./scripted-writer.ts";

const [source = "", workFile = "", log = ""] = process.argv.slice(2);
const host = new ScriptedHost({
  stepMs: 2,
  answer: (text, schema) => {
    appendFileSync(log, "asked\n");
    return honest(seenOf(text, schema));
  },
});
await using summarizer = await openSummarizer({ host, model: "one", workFile, atOnce: 2 });
const { bullets, report } = await summarize(readFileSync(source, "utf8"), { ...summarizer, chunkTokens: 500 });
process.stdout.write(JSON.stringify({ bullets, report }));
