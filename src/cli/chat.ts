// A chat on a terminal: questions by readline with history, answers streamed. Ctrl-C stops an answer; once more, or
// twice at the prompt, it leaves. It does not know models or templates.
import { createInterface } from "node:readline";
import { IroriError } from "../base/mod.ts";
import type { ChatMessage } from "../text/mod.ts";
import { type Answering, streamAnswer, summary } from "./answer.ts";
import { print, say, tell } from "./output.ts";
import type { Wanted } from "./request.ts";

type Typed = { readonly line: string } | "interrupt" | "end";

/** Leads the chat until the person leaves; the exit code. */
export async function chat(lease: Answering, wanted: Wanted, system: string | undefined): Promise<number> {
  const start: readonly ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  let messages = start;
  let history: string[] = [];
  let isLeaving = false;
  lease.warm?.().catch(() => undefined); // opens while the first question is typed; its error comes with the answer
  say(`${lease.model} · /clear forgets the talk, /bye or Ctrl-D leaves, Ctrl-C stops an answer`);
  for (;;) {
    const typed = await ask(history, (lines) => {
      history = lines;
    });
    if (typed === "end") return 0;
    if (typed === "interrupt") {
      if (isLeaving) return 0;
      isLeaving = true;
      say("Ctrl-C again, /bye or Ctrl-D leaves");
      continue;
    }
    isLeaving = false;
    const question = typed.line.trim();
    if (question === "/bye") return 0;
    if (question === "/clear") messages = start;
    if (question === "/clear") say("forgotten");
    else if (question.startsWith("/")) say("the commands are /clear and /bye");
    else if (question !== "") {
      const answered = await answer(lease, wanted, [...messages, { role: "user", content: question }]);
      messages = answered?.messages ?? messages;
      isLeaving = answered?.isCancelled ?? false;
    }
  }
}

/** Lines that come faster than a person types were pasted: one question. */
const PASTE_MS = 20;

/** What was typed up to Enter, or pasted; the terminal is readline's only while it is typed, so that Ctrl-C is a signal during an answer. */
function ask(history: string[], onHistory: (lines: string[]) => void): Promise<Typed> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout, history, prompt: "> " });
  return new Promise((resolve) => {
    const end = (typed: Typed) => {
      resolve(typed); // before the close, which is an event of its own and would count as the end
      terminal.close();
    };
    terminal.on("history", onHistory);
    const lines: string[] = [];
    terminal.on("line", (line) => {
      lines.push(line);
      // what was pasted after the last line break is still being typed
      setTimeout(() => terminal.line === "" && end({ line: lines.join("\n") }), PASTE_MS);
    });
    terminal.once("SIGINT", () => {
      print("\n");
      end("interrupt");
    });
    terminal.once("close", () => end(lines.length > 0 ? { line: lines.join("\n") } : "end"));
    terminal.prompt();
  });
}

/** The talk with the answer in it; undefined where it could not be given (said why). */
async function answer(lease: Answering, wanted: Wanted, messages: readonly ChatMessage[]) {
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  process.on("SIGINT", onInterrupt);
  try {
    const given = await streamAnswer(lease, { ...wanted, prompt: { messages } }, { signal: stop.signal });
    say(summary(given));
    const isCancelled = given.stop === "cancelled";
    return { messages: [...messages, { role: "assistant", content: given.text }], isCancelled };
  } catch (error) {
    if (!(error instanceof IroriError)) throw error;
    tell(error, false);
    if (error.code === "no-room") say("/clear makes room");
    return undefined;
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}
