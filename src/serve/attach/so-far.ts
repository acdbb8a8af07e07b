// What an answer has come to, for when it is cut off. It does not know who makes it.
import type { AnswerEvent } from "../answers.ts";

export class SoFar {
  text = "";
  readonly ids: number[] = [];
  promptTokens = 0;
  /** 0 where none came. */
  firstTokenMs = 0;
  readonly #start = performance.now();

  note(event: AnswerEvent): void {
    if (event.type === "started") this.promptTokens = event.promptTokens;
    if (event.type !== "token") return;
    if (this.ids.length === 0) this.firstTokenMs = this.totalMs;
    this.ids.push(event.id);
    this.text += event.text;
  }

  /** Since it was asked for. */
  get totalMs(): number {
    return performance.now() - this.#start;
  }
}
