// The WebAssembly module of the kernel, written byte by byte for one size: two loops over records, their bodies unrolled.
// It does not know what calls it. Encoding: https://webassembly.github.io/spec/core/binary/

type Bytes = readonly number[];

const I32 = 0x7f;
const V128 = 0x7b;
const local = (index: number): Bytes => [0x20, index];
const set = (index: number, value: Bytes): Bytes => [...value, 0x21, index];
const constant = (value: number): Bytes => [0x41, ...signed(value)];
const add = (a: Bytes, b: Bytes): Bytes => [...a, ...b, 0x6a];
const simd = (code: number): Bytes => [0xfd, ...unsigned(code)];
const load = (op: Bytes, offset: number, align: number, at: Bytes): Bytes => [...at, ...op, align, ...unsigned(offset)];

const V128_LOAD = simd(0);
const V128_LOAD8X8_S = simd(1);
const I32X4_ADD = simd(0xae);
const I32X4_DOT_I16X8_S = simd(0xba);
const F32X4_ADD = simd(0xe4);
const F32X4_MUL = simd(0xe6);
const zeroWord: Bytes = [...simd(12), ...new Array<number>(16).fill(0)];
const i32Lane = (word: Bytes, lane: number): Bytes => [...word, ...simd(0x1b), lane];
const f32Lane = (word: Bytes, lane: number): Bytes => [...word, ...simd(0x1f), lane];

/** Locals of both functions: query, from, count, out, then four words of sums. */
const [QUERY, FROM, COUNT, OUT, SUMS] = [0, 1, 2, 3, 4] as const;
const words = [SUMS, SUMS + 1, SUMS + 2, SUMS + 3];

/** @param dims a multiple of 16 */
export function kernelBytes(dims: number): Uint8Array {
  const codeScores = scan(dims + 16, [
    ...unrolled(dims / 8, (i) => {
      const codes = load(V128_LOAD8X8_S, i * 8, 0, local(FROM));
      const product = [...load(V128_LOAD, i * 16, 0, local(QUERY)), ...codes, ...I32X4_DOT_I16X8_S];
      return [product, I32X4_ADD];
    }),
    ...local(OUT),
    // f32.convert_i32_s, f32.load of the scale, f32.mul, f32.store
    ...[...lanes(I32X4_ADD, i32Lane, 0x6a), 0xb2],
    ...[...local(FROM), 0x2a, 2, ...unsigned(dims), 0x94, 0x38, 2, 0],
  ]);
  const dots = scan(dims * 4, [
    ...unrolled(dims / 4, (i) => {
      const product = [
        ...load(V128_LOAD, i * 16, 0, local(QUERY)),
        ...load(V128_LOAD, i * 16, 0, local(FROM)),
        ...F32X4_MUL,
      ];
      return [product, F32X4_ADD];
    }),
    ...local(OUT),
    ...[...lanes(F32X4_ADD, f32Lane, 0x92), 0x38, 2, 0],
  ]);
  const type: Bytes = [0x60, 4, I32, I32, I32, I32, 0];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, ...type]),
    ...section(2, [1, ...name("e"), ...name("m"), 2, 0, 1]), // the memory comes from outside
    ...section(3, [2, 0, 0]),
    ...section(7, [2, ...name("codeScores"), 0, 0, ...name("dots"), 0, 1]),
    ...section(10, [2, ...sized(codeScores), ...sized(dots)]),
  ]);
}

/** Adds every product to one of the four words in turn. */
function unrolled(count: number, step: (i: number) => readonly [product: Bytes, add: Bytes]): number[] {
  const code = words.flatMap((word) => set(word, zeroWord));
  for (let i = 0; i < count; i++) {
    const [product, addition] = step(i);
    const word = words[i % 4] as number;
    code.push(...set(word, [...local(word), ...product, ...addition]));
  }
  return code;
}

/** The four words, then the four lanes of their sum, added in pairs. */
function lanes(addWords: Bytes, lane: (word: Bytes, lane: number) => Bytes, addLanes: number): Bytes {
  const [a, b, c, d] = words.map(local) as [Bytes, Bytes, Bytes, Bytes];
  const sum = [...[...a, ...b, ...addWords], ...[...c, ...d, ...addWords], ...addWords];
  const [l0, l1, l2, l3] = [0, 1, 2, 3].map((i) => lane(local(SUMS), i)) as [Bytes, Bytes, Bytes, Bytes];
  return [...set(SUMS, sum), ...[...l0, ...l1, addLanes], ...[...l2, ...l3, addLanes], addLanes];
}

/** A function that runs `body` for every record and moves on by `stride`. */
function scan(stride: number, body: Bytes): Bytes {
  return [
    ...[1, 4, V128],
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[...local(COUNT), 0x45, 0x0d, 1], // out of the block at zero
    ...body,
    ...set(OUT, add(local(OUT), constant(4))),
    ...set(FROM, add(local(FROM), constant(stride))),
    ...set(COUNT, add(local(COUNT), constant(-1))),
    ...[0x0c, 0, 0x0b, 0x0b, 0x0b],
  ];
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value > 0);
  return bytes;
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    const isLast = (value === 0 && (byte & 0x40) === 0) || (value === -1 && (byte & 0x40) !== 0);
    bytes.push(isLast ? byte : byte | 0x80);
    if (isLast) return bytes;
  }
}

const sized = (bytes: Bytes): Bytes => [...unsigned(bytes.length), ...bytes];
const section = (id: number, bytes: Bytes): Bytes => [id, ...sized(bytes)];
const name = (text: string): Bytes => sized([...new TextEncoder().encode(text)]);
