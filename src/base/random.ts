// Seeded random numbers that are the same on every machine and in every process.
// It does not know where seeds come from; a run prints its own.

export interface Random {
  /** Uniform in [0, 1), 53 bits. */
  next(): number;
}

/** sfc32 (Chris Doty-Humphrey's small fast counter generator) seeded through splitmix32; 2^64 minimum period by design. */
export function seededRandom(seed: number): Random {
  let mix = seed >>> 0 || 0x9e3779b9;
  if (seed > 0xffffffff) mix ^= Math.floor(seed / 0x100000000) >>> 0;
  const splitmix = () => {
    mix = (mix + 0x9e3779b9) | 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let a = splitmix();
  let b = splitmix();
  let c = splitmix();
  let counter = 1;
  const uint32 = () => {
    const t = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i++) uint32();
  return { next: () => (uint32() * 0x200000 + (uint32() >>> 11)) / 0x20000000000000 };
}
