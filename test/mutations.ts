// Files changed at random, by seed: bits, bytes, cuts, insertions, repeats, lengths of all sizes, digits.
// It does not know what the files mean.

import { seededRandom } from "../src/base/mod.ts";

/** Where the sequence of seeds begins, and whether the long run was asked for. */
export const firstSeed = Number(process.env.IRORI_FUZZ_SEED ?? 1);
export const isFull = process.env.IRORI_FULL === "1";

export interface Base {
  readonly bytes: Uint8Array;
  /** Most mutations fall before this byte. */
  readonly headerBytes: number;
}

const lengths = [0n, 1n, 31n, 255n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n];

type Mutate = (bytes: Buffer, at: number, pick: (below: number) => number) => Uint8Array;
const mutations: readonly Mutate[] = [
  (bytes, at, pick) => bytes.fill(bytes[at]! ^ (1 << pick(8)), at, at + 1),
  (bytes, at, pick) => bytes.fill(pick(256), at, at + 1),
  (bytes, at, pick) => bytes.fill(pick(256), at, Math.min(bytes.length, at + 1 + pick(16))),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, pick) =>
    Buffer.concat([bytes.subarray(0, at), Buffer.alloc(1 + pick(40), pick(256)), bytes.subarray(at)]),
  (bytes, at, pick) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(40))]),
  (bytes, at, pick) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 1 - pick(64)))]), // a repeat
  (bytes, at, pick) => {
    if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(lengths[pick(lengths.length)]!, at);
    return bytes;
  },
  (bytes, at, pick) => {
    if (at + 4 <= bytes.length) bytes.writeUInt32LE(pick(64), at);
    return bytes;
  },
  (bytes, at, pick) => bytes.fill(48 + pick(10), at, at + 1), // a digit: JSON stays JSON
];

export function mutated({ bytes, headerBytes }: Base, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const pick = (below: number) => Math.floor(random.next() * below);
  let now: Uint8Array = Buffer.from(bytes);
  for (let left = 1 + pick(3); left > 0 && now.length > 0; left--) {
    const within = pick(10) === 0 ? now.length : Math.min(now.length, headerBytes);
    now = mutations[pick(mutations.length)]!(Buffer.from(now), pick(within), pick);
  }
  return now;
}

/** Milliseconds of this process's cores that some work took: time that other programs take is not counted. */
export async function busyMs<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const start = process.cpuUsage();
  const done = await work();
  const { user, system } = process.cpuUsage(start);
  return [done, (user + system) / 1000];
}
