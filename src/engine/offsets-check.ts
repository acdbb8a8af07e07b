// Whether a kernel takes the offsets that lie inside its packed weights: a small Program without inputs and what it must give.
// A library that packs anew, since its kernels are others than those the pages were made for, would leave the offsets out.
// It does not know how the Program is made (prepack.ts).
import type { Program } from "../runtime/mod.ts";

/** Results by output name. */
export type Expected = Readonly<Record<string, readonly number[]>>;

/** Offsets left out move results by a third and more; the order of sums by 1e-6. */
const TOLERANCE = 1e-4;

/** What a Program without inputs gives. */
export async function resultsOf(program: Program): Promise<Expected> {
  const results: Record<string, readonly number[]> = {};
  for (const [name, tensor] of Object.entries(await program.run({}))) {
    results[name] = Array.from(tensor.data, Number);
    tensor[Symbol.dispose]();
  }
  return results;
}

/** Whether results are the same within the tolerance, relative to the largest of an output. */
export const agrees = (expected: Expected, got: Expected): boolean =>
  Object.entries(expected).every(([name, values]) => {
    const largest = Math.max(...values.map(Math.abs));
    return values.every((value, i) => Math.abs(value - (got[name]?.[i] ?? Number.NaN)) <= TOLERANCE * largest);
  });
