// The engine's process ended under a request: the request may be sent again.
// It does not know processes.
import { IroriError } from "../base/mod.ts";

export class EngineLostError extends IroriError {
  constructor(reason: string) {
    super("io", {
      what: "the engine stopped while it worked on this",
      got: reason,
      next: "it starts again by itself: send the request again",
    });
    this.name = "EngineLostError";
  }
}
