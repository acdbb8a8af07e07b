// Dimensions of shapes: numbers, or polynomials in symbols ("T", "T+1", "B*T") kept in one canonical spelling.
// They do not know tensors; equal dimensions are equal strings or numbers.

export type Dim = number | string;

/** monomial ("" for the constant, else sorted symbols joined by "*") → integer coefficient */
type Terms = ReadonlyMap<string, number>;

const parsed = new Map<string, Terms>();

function terms(dim: Dim): Terms {
  if (typeof dim === "number") return new Map([["", dim]]);
  let known = parsed.get(dim);
  if (known === undefined) {
    const sum = new Map<string, number>();
    for (const term of dim.replaceAll("-", "+-").split("+")) {
      if (term === "") continue;
      let coefficient = 1;
      const symbols: string[] = [];
      for (const factor of (term.startsWith("-") ? `-1*${term.slice(1)}` : term).split("*")) {
        if (/^-?\d+$/.test(factor)) coefficient *= Number(factor);
        else if (/^[A-Za-z_][\w.]*$/.test(factor)) symbols.push(factor);
        else throw new Error(`"${dim}" is not a dimension: wanted numbers and symbols joined by + and *`);
      }
      const monomial = symbols.sort().join("*");
      sum.set(monomial, (sum.get(monomial) ?? 0) + coefficient);
    }
    known = sum;
    parsed.set(dim, known);
  }
  return known;
}

function canonical(sum: Map<string, number>): Dim {
  let text = "";
  for (const monomial of [...sum.keys()].filter((m) => m !== "" && sum.get(m) !== 0).sort()) {
    const c = sum.get(monomial) as number;
    text += (c < 0 ? "-" : text === "" ? "" : "+") + (Math.abs(c) === 1 ? "" : `${Math.abs(c)}*`) + monomial;
  }
  const constant = sum.get("") ?? 0;
  if (text === "") return constant;
  return constant === 0 ? text : `${text}${constant < 0 ? "" : "+"}${constant}`;
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  const sum = new Map(terms(a));
  for (const [m, c] of terms(b)) sum.set(m, (sum.get(m) ?? 0) + c);
  return canonical(sum);
}

export function mulDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b + 0; // never -0
  const product = new Map<string, number>();
  for (const [ma, ca] of terms(a))
    for (const [mb, cb] of terms(b)) {
      const m = [...ma.split("*"), ...mb.split("*")]
        .filter((s) => s !== "")
        .sort()
        .join("*");
      product.set(m, (product.get(m) ?? 0) + ca * cb);
    }
  return canonical(product);
}

export const subDims = (a: Dim, b: Dim): Dim => addDims(a, mulDims(-1, b));

/** a / b where it is exact (b a number or one monomial), else undefined. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  const by = [...terms(b)].filter(([, c]) => c !== 0);
  if (by.length !== 1) return a === b ? 1 : undefined;
  const [divisor, coefficient] = by[0] as [string, number];
  const quotient = new Map<string, number>();
  for (const [m, c] of terms(a)) {
    if (c === 0) continue;
    const symbols = m === "" ? [] : m.split("*");
    for (const symbol of divisor === "" ? [] : divisor.split("*")) {
      const at = symbols.indexOf(symbol);
      if (at < 0) return undefined;
      symbols.splice(at, 1);
    }
    if (c % coefficient !== 0) return undefined;
    quotient.set(symbols.join("*"), c / coefficient);
  }
  return canonical(quotient);
}

/** Number of elements of a shape. */
export const sizeOf = (shape: readonly Dim[]): Dim => shape.reduce<Dim>(mulDims, 1);

export const sameShape = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((dim, i) => dim === b[i]);

/** The terms of a dimension as [coefficient, symbols] pairs: what an emitter needs to compute it. */
export const dimTerms = (dim: Dim): readonly (readonly [number, readonly string[]])[] =>
  [...terms(dim)].filter(([, c]) => c !== 0).map(([m, c]) => [c, m === "" ? [] : m.split("*")] as const);

/** The dimension with its symbols replaced by numbers; an unknown symbol throws. */
export function evaluateDim(dim: Dim, symbols: Readonly<Record<string, number>>): number {
  let sum = 0;
  for (const [coefficient, names] of dimTerms(dim))
    sum += names.reduce((product, name) => {
      const value = symbols[name];
      if (value === undefined) throw new Error(`dimension "${dim}": the value of ${name} is not known`);
      return product * value;
    }, coefficient);
  return sum;
}
