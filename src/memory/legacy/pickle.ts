// Python's pickle read as data: numbers, texts, lists, maps, and objects as their names and fields. Nothing is imported or
// called: a name outside the short list below is refused, whatever it would do. It does not know what the data means.
import { IroriError } from "../../base/mod.ts";

export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Pickled[]
  | PickledMap
  | PickledObject
  | Name
  | Persistent;

export type PickledMap = Map<Pickled, Pickled>;

/** "module name", as the pickle has it. */
export class Name {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
/** What one of the known names was called or made with, and the state it was given afterwards. */
export class PickledObject {
  readonly name: string;
  readonly args: readonly Pickled[];
  state: Pickled = null;
  constructor(name: string, args: readonly Pickled[]) {
    this.name = name;
    this.args = args;
  }
}
/** Something that lies outside of the pickle: a tensor's numbers. */
export class Persistent {
  readonly id: readonly Pickled[];
  constructor(id: readonly Pickled[]) {
    this.id = id;
  }
}

/** Containers and numbers of torch, torch_geometric and numpy; what they would build is built here, as data. */
const KNOWN = new Set([
  ...[
    "collections OrderedDict",
    "builtins set",
    "builtins dict",
    "builtins list",
    "_codecs encode",
    "builtins bytearray",
    "__builtin__ set",
  ],
  ...[
    "torch_geometric.data.data Data",
    "torch_geometric.data.data DataEdgeAttr",
    "torch_geometric.data.data DataTensorAttr",
  ],
  ...[
    "torch_geometric.data.storage GlobalStorage",
    "torch_geometric.data.storage BaseStorage",
    "torch._utils _rebuild_tensor_v2",
  ],
  ...[
    "torch FloatStorage",
    "torch DoubleStorage",
    "torch LongStorage",
    "torch IntStorage",
    "torch Size",
    "torch device",
  ],
  ...["numpy ndarray", "numpy dtype", "numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar"],
  ...["numpy._core.multiarray _reconstruct", "numpy._core.multiarray scalar", "datetime datetime"],
]);

const MARK = Symbol("mark");
type Slot = Pickled | typeof MARK;
const MOST_ITEMS = 10_000_000;

/** Throws "bad-file" for what is cut, malformed or calls for anything but data; the sentence names it. */
export function unpickle(what: string, bytes: Uint8Array): Pickled {
  return new Unpickler(what, bytes).run();
}

class Unpickler {
  readonly #what: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #items = 0;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, Pickled>();

  constructor(what: string, bytes: Uint8Array) {
    this.#what = what;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): Pickled {
    for (;;) {
      if (++this.#items > MOST_ITEMS) throw this.#bad(`more than ${MOST_ITEMS} steps`);
      const code = this.#byte();
      if (code === 0x2e) return this.#pop(); // STOP
      const step = steps[code];
      if (step === undefined) throw this.#bad(`the instruction 0x${code.toString(16)} at ${this.#at - 1}`);
      step(this);
    }
  }

  #bad(got: string): IroriError {
    return new IroriError("bad-file", { what: `${this.#what} cannot be read as data`, got });
  }
  #byte(): number {
    return this.take(1)[0] as number;
  }
  take(count: number): Uint8Array {
    if (count < 0 || this.#at + count > this.#bytes.length)
      throw this.#bad(`it ends at ${this.#bytes.length}, in the middle of a value`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
  unsigned(size: 1 | 2 | 4 | 8): number {
    const bytes = this.take(size);
    const value = bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(value)) throw this.#bad("a length beyond 2^53");
    return value;
  }
  signed32(): number {
    this.take(4);
    return this.#view.getInt32(this.#at - 4, true);
  }
  double(): number {
    this.take(8);
    return this.#view.getFloat64(this.#at - 8, false);
  }
  text(count: number): string {
    return new TextDecoder().decode(this.take(count));
  }
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#bad("a line without an end");
    const line = this.text(end - this.#at);
    this.#at = end + 1;
    return line;
  }
  push(value: Slot): void {
    this.#stack.push(value);
  }
  mark(): void {
    this.#stack.push(MARK);
  }
  #pop(): Pickled {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#bad("a value that is not there");
    return value;
  }
  pop(): Pickled {
    return this.#pop();
  }
  top(): Pickled {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }
  /** Everything since the last mark. */
  popMark(): Pickled[] {
    const at = this.#stack.lastIndexOf(MARK);
    if (at < 0) throw this.#bad("a list without a beginning");
    const items = this.#stack.splice(at).slice(1) as Pickled[];
    return items;
  }
  popItems(count: number): Pickled[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }
  keep(index: number): void {
    this.#memo.set(index, this.top());
  }
  memoize(): void {
    this.keep(this.#memo.size);
  }
  get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#bad(`the value ${index}, which was not kept`);
    this.push(value);
  }
  name(module: string, name: string): void {
    const full = `${module} ${name}`;
    if (!KNOWN.has(full))
      throw new IroriError("bad-file", {
        what: `${this.#what} calls for ${module}.${name}, which is no data`,
        next: "nothing of it was run; do not open this file with Python",
      });
    this.push(new Name(full));
  }
  make(): void {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(callee instanceof Name) || !Array.isArray(args)) throw this.#bad("a call of something that is no name");
    this.push(made(callee.name, args));
  }
  build(): void {
    const state = this.#pop();
    const object = this.top();
    if (object instanceof PickledObject) object.state = state;
    else if (object instanceof Map && state instanceof Map) for (const [key, value] of state) object.set(key, value);
    else throw this.#bad("a state for what has none");
  }
  addItems(items: readonly Pickled[]): void {
    const target = this.top();
    if (target instanceof Map)
      for (let i = 0; i + 1 < items.length; i += 2) target.set(items[i] as Pickled, items[i + 1] as Pickled);
    else throw this.#bad("items for what is no map");
  }
  append(items: readonly Pickled[]): void {
    const target = this.top();
    if (!Array.isArray(target)) throw this.#bad("items for what is no list");
    target.push(...items);
  }
}

function made(name: string, args: readonly Pickled[]): Pickled {
  if (/ (?:OrderedDict|dict)$/.test(name)) return new Map();
  if (/ (?:set|list)$/.test(name)) return Array.isArray(args[0]) ? [...args[0]] : [];
  if (name === "_codecs encode") return Uint8Array.from(String(args[0]), (character) => character.codePointAt(0) ?? 0);
  return new PickledObject(name, args);
}

/** Little-endian two's complement. */
function longOf(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = value * 256n + BigInt(bytes[i] as number);
  if (((bytes.at(-1) ?? 0) & 0x80) !== 0) value -= 1n << BigInt(bytes.length * 8);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Instructions of protocols 0 to 5 that data needs. */
const steps: Readonly<Record<number, (m: Unpickler) => void>> = {
  128: (m) => void m.take(1), // PROTO
  149: (m) => void m.take(8), // FRAME
  40: (m) => m.mark(),
  48: (m) => void m.pop(),
  49: (m) => void m.popMark(),
  50: (m) => m.push(m.top()),
  78: (m) => m.push(null),
  136: (m) => m.push(true),
  137: (m) => m.push(false),
  75: (m) => m.push(m.unsigned(1)),
  77: (m) => m.push(m.unsigned(2)),
  74: (m) => m.push(m.signed32()),
  73: (m) => {
    const line = m.line();
    m.push(line === "01" ? true : line === "00" ? false : Number(line));
  },
  76: (m) => m.push(Number(m.line().replace(/L$/, ""))),
  138: (m) => m.push(longOf(m.take(m.unsigned(1)))),
  139: (m) => m.push(longOf(m.take(m.unsigned(4)))),
  70: (m) => m.push(Number(m.line())),
  71: (m) => m.push(m.double()),
  88: (m) => m.push(m.text(m.unsigned(4))),
  140: (m) => m.push(m.text(m.unsigned(1))),
  141: (m) => m.push(m.text(m.unsigned(8))),
  86: (m) => m.push(JSON.parse(`"${m.line().replaceAll('"', '\\"')}"`) as string),
  85: (m) => m.push(m.text(m.unsigned(1))),
  84: (m) => m.push(m.text(m.unsigned(4))),
  83: (m) => m.push(m.line().replace(/^['"]|['"]$/g, "")),
  67: (m) => m.push(m.take(m.unsigned(1)).slice()),
  66: (m) => m.push(m.take(m.unsigned(4)).slice()),
  142: (m) => m.push(m.take(m.unsigned(8)).slice()),
  150: (m) => m.push(m.take(m.unsigned(8)).slice()),
  41: (m) => m.push([]),
  93: (m) => m.push([]),
  125: (m) => m.push(new Map()),
  143: (m) => m.push([]),
  116: (m) => m.push(m.popMark()),
  108: (m) => m.push(m.popMark()),
  100: (m) => {
    const items = m.popMark();
    m.push(new Map());
    m.addItems(items);
  },
  133: (m) => m.push(m.popItems(1)),
  134: (m) => m.push(m.popItems(2)),
  135: (m) => m.push(m.popItems(3)),
  97: (m) => {
    const item = m.pop();
    m.append([item]);
  },
  101: (m) => m.append(m.popMark()),
  144: (m) => m.append(m.popMark()),
  115: (m) => {
    const items = m.popItems(2);
    m.addItems(items);
  },
  117: (m) => m.addItems(m.popMark()),
  113: (m) => m.keep(m.unsigned(1)),
  114: (m) => m.keep(m.unsigned(4)),
  112: (m) => m.keep(Number(m.line())),
  148: (m) => m.memoize(),
  104: (m) => m.get(m.unsigned(1)),
  106: (m) => m.get(m.unsigned(4)),
  103: (m) => m.get(Number(m.line())),
  99: (m) => {
    const module = m.line();
    m.name(module, m.line());
  },
  147: (m) => {
    const [module, name] = m.popItems(2);
    m.name(String(module), String(name));
  },
  82: (m) => m.make(),
  129: (m) => m.make(),
  98: (m) => m.build(),
  81: (m) => {
    const id = m.pop();
    m.push(new Persistent(Array.isArray(id) ? id : [id]));
  },
};
