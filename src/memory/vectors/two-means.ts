// How a full list becomes two, and which list each of its members then belongs to. Works on code records.
// It does not know where lists are stored.
import type { Random } from "../../base/mod.ts";
import { decodeInto } from "./codes.ts";
import { type Kernel, openKernel, paddedDims } from "./kernel.ts";

const ROUNDS = 6;
/** A side with a smaller share is filled up to the half: lists stay of one order of size. */
const SMALLEST_SHARE = 0.15;
const QUERY = 0;
const VECTORS = 16_384;

const kernels = new Map<number, Kernel>();
function kernelOf(dims: number): Kernel {
  const kernel = kernels.get(dims) ?? openKernel(dims);
  kernels.set(dims, kernel);
  return kernel;
}

/** Centres of two halves: Lloyd's rounds from a random member and the one farthest from it. */
export function twoMeans(records: readonly Uint8Array[], dims: number, random: Random): [Float32Array, Float32Array] {
  const kernel = kernelOf(dims);
  const members = load(kernel, records);
  const of = (i: number) => kernel.f32.slice(members.at(i), members.at(i) + dims);
  let first: Float32Array = of(Math.floor(random.next() * records.length));
  const near = dotsWith(kernel, first, members);
  let second: Float32Array = of(near.indexOf(Math.min(...near)));
  for (let round = 0; round < ROUNDS; round++) {
    const axis = first.map((x, d) => x - (second[d] as number));
    let middle = 0;
    for (let d = 0; d < dims; d++) middle += ((first[d] as number) ** 2 - (second[d] as number) ** 2) / 2;
    const margins = dotsWith(kernel, axis, members).map((x) => x - middle);
    const share = margins.filter((x) => x >= 0).length / records.length;
    const isLopsided = share < SMALLEST_SHARE || share > 1 - SMALLEST_SHARE;
    const border = isLopsided ? (margins.toSorted()[records.length >> 1] as number) : 0;
    const sides = margins.map((x) => (x >= border ? 0 : 1));
    first = meanOf(kernel, members, dims, (i) => sides[i] === 0) ?? first;
    second = meanOf(kernel, members, dims, (i) => sides[i] === 1) ?? second;
  }
  return [first, second];
}

/** For each record the index of the nearest centre. */
export function nearestOf(records: readonly Uint8Array[], centres: readonly Float32Array[], dims: number): Int32Array {
  const kernel = kernelOf(dims);
  const members = load(kernel, records);
  const best = new Float32Array(records.length).fill(-Infinity);
  const places = new Int32Array(records.length);
  centres.forEach((centre, c) => {
    let half = 0;
    for (const x of centre) half += (x * x) / 2;
    const scores = dotsWith(kernel, centre, members);
    for (let i = 0; i < scores.length; i++)
      if ((scores[i] as number) - half > (best[i] as number)) {
        best[i] = (scores[i] as number) - half;
        places[i] = c;
      }
  });
  return places;
}

/** Vectors in the kernel's memory; `at` is where one begins, in floats. */
interface Members {
  readonly count: number;
  readonly at: (i: number) => number;
}

function load(kernel: Kernel, records: readonly Uint8Array[]): Members {
  const padded = paddedDims(kernel.dims);
  const at = (i: number) => VECTORS / 4 + i * padded;
  kernel.reserve(at(records.length) * 4 + records.length * 4);
  kernel.f32.fill(0, at(0), at(records.length));
  records.forEach((record, i) => {
    decodeInto(record, kernel.dims, kernel.f32, at(i));
  });
  return { count: records.length, at };
}

function dotsWith(kernel: Kernel, vector: Float32Array, { count, at }: Members): Float32Array {
  kernel.f32.fill(0, QUERY, paddedDims(kernel.dims));
  kernel.f32.set(vector, QUERY);
  kernel.dots(QUERY, VECTORS, count, at(count) * 4);
  return kernel.f32.slice(at(count), at(count) + count);
}

function meanOf(
  kernel: Kernel,
  members: Members,
  dims: number,
  isIn: (i: number) => boolean,
): Float32Array | undefined {
  const sum = new Float64Array(dims);
  let count = 0;
  for (let i = 0; i < members.count; i++) {
    if (!isIn(i)) continue;
    count++;
    const at = members.at(i);
    for (let d = 0; d < dims; d++) sum[d] = (sum[d] as number) + (kernel.f32[at + d] as number);
  }
  return count === 0 ? undefined : Float32Array.from(sum, (x) => x / count);
}
