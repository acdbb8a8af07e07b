// What every start-up step took, from the exec of the process on: the lines of --profile.
// It does not know what the steps do; commands mark the end of each.
import type { EngineEvent } from "../engine/mod.ts";

interface Mark {
  readonly step: string;
  /** Milliseconds since the process was started. */
  readonly atMs: number;
}

export class StartUp {
  readonly #marks: Mark[] = [];
  #hasRuntime = false;

  /** Something has just ended, or did `agoMs` ago. */
  mark(step: string, agoMs = 0): void {
    this.#marks.push({ step, atMs: performance.now() - agoMs });
  }

  /** An event of the engine is the end of one or two steps. */
  event({ type, cause, ms }: EngineEvent): void {
    if (type === "compile") {
      // the first waits for the runtime too; later ones are opened beside other work, so that only their ends stand in a row
      if (!this.#hasRuntime) this.mark("runtime open", ms);
      this.#hasRuntime = true;
      this.mark("program compiled");
    } else if (type === "open") this.mark("manifest and tokenizer");
    else this.mark(`${type} (${cause})`);
  }

  /** A line a step: when it ended, and how long after the one before. */
  lines(): string {
    let before = 0;
    const rows = this.#marks
      .toSorted((a, b) => a.atMs - b.atMs)
      .map(({ step, atMs }) => {
        const line = `${atMs.toFixed(1).padStart(9)} ms  +${(atMs - before).toFixed(1).padStart(8)}  ${step}\n`;
        before = atMs;
        return line;
      });
    return `start-up, from the exec of node ${process.versions.node}:\n${rows.join("")}`;
  }
}
