// Blocks of our own making for weights that come as floats: round to nearest, 32 values a block, and what it costs.
// 8 bit: a scale, of rotated values. 4 bit: a scale and a minimum, fitted to the codes. It does not know files.

const BLOCK = 32;

/** Differences of blocks and values, for a report. */
export interface BlockError {
  /** Sums over all values: of squares of the differences, and of the values' squares. */
  differences: number;
  values: number;
  /** The largest share of a block: √(its differences' squares / its values' squares). */
  worst: number;
}

export const noError = (): BlockError => ({ differences: 0, values: 0, worst: 0 });

function note(error: BlockError, differences: number, values: number): void {
  error.differences += differences;
  error.values += values;
  if (values > 0) error.worst = Math.max(error.worst, Math.sqrt(differences / values));
}

/** In place, each block times the orthonormal Hadamard matrix of Sylvester's order (`rotateBlocks` of tensor/), by butterflies. */
export function rotate(values: Float32Array): void {
  const share = 1 / Math.sqrt(BLOCK);
  for (let start = 0; start < values.length; start += BLOCK) {
    for (let half = 1; half < BLOCK; half *= 2)
      for (let pair = start; pair < start + BLOCK; pair += 2 * half)
        for (let i = pair; i < pair + half; i++) {
          const [a, b] = [values[i] as number, values[i + half] as number];
          values[i] = a + b;
          values[i + half] = a - b;
        }
    for (let i = start; i < start + BLOCK; i++) values[i] = (values[i] as number) * share;
  }
}

/** value ≈ scale · (code − 128): codes 1 to 255. */
export function quantize8(values: Float32Array, codes: Uint8Array, scales: Float32Array, error: BlockError): void {
  for (let start = 0, b = 0; start < values.length; start += BLOCK, b++) {
    let most = 0;
    for (let i = start; i < start + BLOCK; i++) most = Math.max(most, Math.abs(values[i] as number));
    scales[b] = most / 127;
    const scale = scales[b] as number;
    const inverse = scale === 0 ? 0 : 1 / scale;
    let [differences, squares] = [0, 0];
    for (let i = start; i < start + BLOCK; i++) {
      const value = values[i] as number;
      const code = Math.round(value * inverse);
      codes[i] = code + 128;
      differences += (value - scale * code) ** 2;
      squares += value * value;
    }
    note(error, differences, squares);
  }
}

/** Shares of a block's range that a line is first laid over: a little less than all leaves the many nearer than the two ends. */
const SHARES = [1, 0.95, 0.9];

/** value ≈ scale · code + min: codes 0 to 15, two a byte, the even one low. Of the lines tried that with the least squares. */
export function quantize4(
  values: Float32Array,
  codes: Uint8Array,
  scales: Float32Array,
  mins: Float32Array,
  error: BlockError,
): void {
  const best = new Line();
  const line = new Line();
  for (let start = 0, b = 0; start < values.length; start += BLOCK, b++) {
    let [least, most, squares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
    for (let i = start; i < start + BLOCK; i++) {
      const value = values[i] as number;
      if (value < least) least = value;
      if (value > most) most = value;
      squares += value * value;
    }
    best.differences = Number.POSITIVE_INFINITY;
    for (const share of SHARES) {
      const range = (most - least) * share;
      line.lay(range / 15, least + (most - least - range) / 2);
      line.round(values, start);
      if (line.differences < best.differences) best.take(line);
      line.fit(values, start);
      line.round(values, start);
      if (line.differences < best.differences) best.take(line);
      if (best.differences === 0) break;
    }
    scales[b] = best.scale;
    mins[b] = best.min;
    for (let i = 0; i < BLOCK; i += 2)
      codes[(start + i) / 2] = (best.codes[i] as number) | ((best.codes[i + 1] as number) << 4);
    note(error, best.differences, squares);
  }
}

/** scale · code + min through the values of a block. */
class Line {
  scale = 0;
  min = 0;
  /** Sum of squares of what is left. */
  differences = 0;
  readonly codes = new Uint8Array(BLOCK);

  lay(scale: number, min: number): void {
    this.scale = Math.fround(scale);
    this.min = Math.fround(min);
  }

  take({ scale, min, differences, codes }: Line): void {
    this.lay(scale, min);
    this.differences = differences;
    this.codes.set(codes);
  }

  /** The nearest codes. */
  round(values: Float32Array, start: number): void {
    const { scale, min, codes } = this;
    const inverse = scale === 0 ? 0 : 1 / scale;
    let differences = 0;
    for (let i = 0; i < BLOCK; i++) {
      const value = values[start + i] as number;
      const near = Math.round((value - min) * inverse);
      const code = near < 0 ? 0 : near > 15 ? 15 : near;
      codes[i] = code;
      const difference = value - (scale * code + min);
      differences += difference * difference;
    }
    this.differences = differences;
  }

  /** Least squares of the values over their codes; where all codes are one the line stays. */
  fit(values: Float32Array, start: number): void {
    let [sumCode, sumValue, sumBoth, sumSquare] = [0, 0, 0, 0];
    for (let i = 0; i < BLOCK; i++) {
      const value = values[start + i] as number;
      const code = this.codes[i] as number;
      sumCode += code;
      sumValue += value;
      sumBoth += code * value;
      sumSquare += code * code;
    }
    const determinant = BLOCK * sumSquare - sumCode * sumCode;
    if (determinant === 0) return;
    const scale = (BLOCK * sumBoth - sumCode * sumValue) / determinant;
    this.lay(scale, (sumValue - scale * sumCode) / BLOCK);
  }
}
