// What a step says of the positions that it looks at, in buffers that it writes in place.
// It does not know rows or how a token is chosen.
import { Tensor } from "../runtime/mod.ts";
import { candidatesOf, refine } from "./candidates.ts";
import type { Candidates } from "./logits.ts";

/** Buffers of a step that looks at `positions` positions. */
export class StepResults implements Disposable {
  readonly wanted: Tensor<"int64">;
  readonly inverseTemperature: Tensor<"float32">;
  /** [positions, V]; overwritten by the next step. */
  readonly logits: Tensor<"float32">;
  readonly topLogits: Tensor<"float32">;
  readonly topIds: Tensor<"int64">;
  readonly exactLogits: Tensor<"float32">;
  readonly logSumExp: Tensor<"float32">;
  readonly positions: number;

  constructor(positions: number, vocabSize: number) {
    const best = candidatesOf({ vocabSize });
    const top = Math.min(best + 1, vocabSize);
    this.positions = positions;
    this.wanted = Tensor.of("int64", [positions]);
    this.inverseTemperature = Tensor.of("float32", [positions]);
    this.logits = Tensor.of("float32", [positions, vocabSize]);
    this.topLogits = Tensor.of("float32", [positions, top]);
    this.topIds = Tensor.of("int64", [positions, top]);
    this.exactLogits = Tensor.of("float32", [positions, best]);
    this.logSumExp = Tensor.of("float32", [positions]);
  }
  get inputs() {
    return { wanted: this.wanted, inverseTemperature: this.inverseTemperature };
  }
  get outputs() {
    const { logits, topLogits, topIds, exactLogits, logSumExp } = this;
    return { logits, topLogits, topIds, exactLogits, logSumExp };
  }

  /** What the step says of one position; it is overwritten by the next step. */
  candidates(position: number): Candidates {
    const part = <T extends Float32Array | BigInt64Array>(data: T): T => {
      const width = data.length / this.positions;
      return data.subarray(position * width, (position + 1) * width) as T;
    };
    return refine({
      all: part(this.logits.data),
      topIds: part(this.topIds.data),
      topLogits: part(this.topLogits.data),
      exactLogits: part(this.exactLogits.data),
      logSumExp: this.logSumExp.data[position] as number,
      inverseTemperature: this.inverseTemperature.data[position] as number,
    });
  }
  [Symbol.dispose](): void {
    for (const tensor of [...Object.values(this.inputs), ...Object.values(this.outputs)]) tensor[Symbol.dispose]();
  }
}
