// Distances that reckon with every way between two places, not with the shortest alone: those of an electric network whose
// conductances are the links' weights (harmonic functions on it). Each place leaks a little, so that islands have a distance
// too: a large one. What a new node changes follows from one inverse, without making the network anew.
// It does not know what the nodes are.

/** Conductance from every place to the ground: the smaller, the farther apart islands are. */
const LEAK = 0.01;

export interface WeightedEdge {
  readonly a: number;
  readonly b: number;
  readonly weight: number;
}

/** Where a new node is linked, and how strongly. */
export interface Attachment {
  readonly places: readonly number[];
  readonly weights: readonly number[];
}

/** What a new node changes. */
export interface HarmonicChange {
  /** Share of all distances between counted nodes that falls away: 0 to 1. */
  readonly path: number;
  /** Closeness of its places to each other, before and after, 0 to 1: each is 1 to itself, places on two islands are 0. */
  readonly before: Matrix;
  readonly after: Matrix;
}

/** Square, row by row. */
type Matrix = Float64Array;
type Room = readonly [Matrix, Matrix, Matrix, Matrix, Matrix, Matrix];

export class HarmonicNetwork {
  readonly count: number;
  readonly #counted: readonly number[];
  /** M = (L + leak·I)⁻¹, with L the weighted Laplacian. */
  readonly #inverse: Matrix;
  /** Σ over counted x of M[i][x]·M[x][j], reckoned when it is asked for: of few places in a large neighbourhood; and of M[i][x]. */
  readonly #products: Matrix;
  readonly #sums: Float64Array;
  readonly #degrees: Int32Array;
  readonly #rooms: Room[] = [];
  /** Σ of all distances between counted nodes, each M[x][x] + M[y][y] − 2·M[x][y]. */
  readonly total: number;

  /** Parallel links add up. @param isCounted nodes whose distances are summed */
  constructor(count: number, edges: readonly WeightedEdge[], isCounted: readonly boolean[]) {
    this.count = count;
    this.#degrees = new Int32Array(count);
    const laplacian = new Float64Array(count * count);
    const add = (i: number, j: number, value: number) => {
      laplacian[i * count + j] = (laplacian[i * count + j] as number) + value;
    };
    for (let i = 0; i < count; i++) add(i, i, LEAK);
    for (const { a, b, weight } of edges)
      for (const [i, j] of [
        [a, b],
        [b, a],
      ] as const) {
        add(i, j, -weight);
        add(i, i, weight);
        this.#degrees[i] = (this.#degrees[i] as number) + 1;
      }
    this.#inverse = inverted(laplacian, count);
    const counted = Array.from({ length: count }, (_, x) => x).filter((x) => isCounted[x]);
    this.#counted = counted;
    this.#sums = new Float64Array(count);
    this.#products = new Float64Array(count * count).fill(Number.NaN);
    const at = this.#inverse;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const x of counted) sum += at[i * count + x] as number;
      this.#sums[i] = sum;
    }
    let total = 0;
    for (const x of counted) total += counted.length * (at[x * count + x] as number) - (this.#sums[x] as number);
    this.total = total;
  }

  degreeOf(node: number): number {
    return this.#degrees[node] as number;
  }

  /** How close two places are as it is: 1 is the same place, 0 another island. */
  closenessOf(a: number, b: number): number {
    const at = this.#inverse;
    const { count } = this;
    return share(
      (at[a * count + b] as number) / Math.sqrt((at[a * count + a] as number) * (at[b * count + b] as number)),
    );
  }

  /** What a node attached like this changes. Nothing attached changes nothing. */
  changeBy({ places, weights }: Attachment): HarmonicChange {
    const size = places.length;
    const [near, products, links, step, middle, moved] = this.#roomFor(size);
    this.#between(this.#inverse, places, near);
    for (const i of places) for (const j of places) this.#reckonProduct(i, j);
    this.#between(this.#products, places, products);
    const strength = weights.reduce((sum, weight) => sum + weight, LEAK);
    // the new node eliminated: conductances C = diag(w) − w wᵀ / Σw among its places; then M' = M − M (C⁻¹ + M)⁻¹ M
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        links[i * size + j] =
          (i === j ? (weights[i] as number) : 0) - ((weights[i] as number) * (weights[j] as number)) / strength;
    multiply(links, near, size, step);
    for (let i = 0; i < size; i++) step[i * size + i] = (step[i * size + i] as number) + 1;
    const solved = inverted(step, size);
    multiply(solved, links, size, middle); // (C⁻¹ + M)⁻¹ = (I + C M)⁻¹ C
    let fall = 0;
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        const own = middle[i * size + j] as number;
        fall += this.#counted.length * own * (products[j * size + i] as number);
        fall -= own * (this.#sums[places[i] as number] as number) * (this.#sums[places[j] as number] as number);
      }
    const path = this.total > 0 ? Math.max(0, fall / this.total) : 0;
    return { path, before: scaled(near, size), after: scaled(multiply(near, solved, size, moved), size) };
  }

  #reckonProduct(i: number, j: number): void {
    const { count } = this;
    if (!Number.isNaN(this.#products[i * count + j] as number)) return;
    const [one, other] = [this.#inverse.subarray(i * count, (i + 1) * count), this.#inverse.subarray(j * count)];
    let product = 0;
    for (const x of this.#counted) product += (one[x] as number) * (other[x] as number);
    this.#products[i * count + j] = product;
    this.#products[j * count + i] = product;
  }

  /** Matrices of a size, used again by every change: there are thousands, and making them would take a third of the time. */
  #roomFor(size: number): Room {
    const room =
      this.#rooms[size] ?? (Array.from({ length: 6 }, () => new Float64Array(size * size)) as unknown as Room);
    this.#rooms[size] = room;
    return room;
  }

  #between(matrix: Matrix, places: readonly number[], out: Matrix): void {
    const size = places.length;
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        out[i * size + j] = matrix[(places[i] as number) * this.count + (places[j] as number)] as number;
  }
}

function scaled(matrix: Matrix, size: number): Matrix {
  const out = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    out[i * size + i] = 1;
    for (let j = 0; j < i; j++) {
      const length = Math.sqrt((matrix[i * size + i] as number) * (matrix[j * size + j] as number));
      out[i * size + j] = share((matrix[i * size + j] as number) / length);
      out[j * size + i] = share((matrix[j * size + i] as number) / length);
    }
  }
  return out;
}

const share = (x: number): number => (x > 0 ? (x < 1 ? x : 1) : 0);

function multiply(a: Matrix, b: Matrix, size: number, out: Matrix): Matrix {
  out.fill(0);
  for (let i = 0; i < size; i++)
    for (let k = 0; k < size; k++) {
      const factor = a[i * size + k] as number;
      const [row, other] = [i * size, k * size];
      for (let j = 0; j < size; j++) out[row + j] = (out[row + j] as number) + factor * (b[other + j] as number);
    }
  return out;
}

/** By Gauss and Jordan in place. All pivots of the matrices here are positive: they are diagonally dominant or I + C·M of such. */
function inverted(a: Matrix, size: number): Matrix {
  for (let pivot = 0; pivot < size; pivot++) {
    const row = pivot * size;
    const scale = 1 / (a[row + pivot] as number);
    a[row + pivot] = 1;
    for (let x = 0; x < size; x++) a[row + x] = (a[row + x] as number) * scale;
    for (let other = 0; other < size; other++) {
      if (other === pivot) continue;
      const from = other * size;
      const factor = a[from + pivot] as number;
      if (factor === 0) continue;
      a[from + pivot] = 0;
      for (let x = 0; x < size; x++) a[from + x] = (a[from + x] as number) - factor * (a[row + x] as number);
    }
  }
  return a;
}
