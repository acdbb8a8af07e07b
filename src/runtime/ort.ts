// ONNX Runtime's C API through koffi: the function table, calls that check their status, calls off the event loop.
// It does not know tensors, programs or graphs. The only file that touches koffi (2.16: 3.3 frees trampolines in use).

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { IroriError } from "../base/mod.ts";

/** A pointer that the library gave us. */
export type Handle = { readonly handle: unique symbol };

type Spec = readonly [index: number, parameters: string];

/**
 * Parameters: p pointer, o pointer out, P pointers, Q pointers in and out, s text, S texts, O texts out, f path,
 * i int, I int out, z size, Z size out, l array of int64. All of these return a status.
 */
const functions = {
  SetOptimizedModelFilePath: [11, "pf"],
  CreateSessionFromArray: [8, "ppzpo"],
  Run: [9, "ppSPzSzQ"],
  CreateSessionOptions: [10, "o"],
  EnableProfiling: [14, "pf"],
  DisableMemPattern: [17, "p"],
  DisableCpuMemArena: [19, "p"],
  SetSessionGraphOptimizationLevel: [23, "pi"],
  SessionGetInputCount: [30, "pZ"],
  SessionGetOutputCount: [31, "pZ"],
  SessionGetInputTypeInfo: [33, "pzo"],
  SessionGetOutputTypeInfo: [34, "pzo"],
  SessionGetInputName: [36, "pzpo"],
  SessionGetOutputName: [37, "pzpo"],
  CreateRunOptions: [39, "o"],
  RunOptionsSetTerminate: [46, "p"],
  CreateTensorWithDataAsOrtValue: [49, "ppzlzio"],
  GetTensorMutableData: [51, "po"],
  CastTypeInfoToTensorInfo: [55, "po"],
  GetTensorElementType: [60, "pI"],
  GetDimensionsCount: [61, "pZ"],
  GetDimensions: [62, "plz"],
  GetSymbolicDimensions: [63, "pOz"],
  GetTensorTypeAndShape: [65, "po"],
  CreateCpuMemoryInfo: [69, "iio"],
  AllocatorFree: [76, "pp"],
  GetAllocatorWithDefaultOptions: [78, "o"],
  CreateEnvWithGlobalThreadPools: [119, "ispo"],
  DisablePerSessionThreads: [120, "p"],
  CreateThreadingOptions: [121, "o"],
  AddSessionConfigEntry: [130, "pss"],
  RunWithBinding: [133, "ppp"],
  CreateIoBinding: [134, "po"],
  BindInput: [136, "psp"],
  BindOutput: [137, "psp"],
  SetGlobalIntraOpNumThreads: [147, "pi"],
  SetGlobalInterOpNumThreads: [148, "pi"],
  SetGlobalSpinControl: [149, "pi"],
} as const satisfies Record<string, Spec>;

const releases = {
  Env: 92,
  Status: 93,
  Session: 95,
  Value: 96,
  RunOptions: 97,
  TypeInfo: 98,
  TensorTypeAndShapeInfo: 99,
  SessionOptions: 100,
  ThreadingOptions: 122,
  IoBinding: 135,
} as const;

export type OrtFunction = keyof typeof functions;
export type OrtObject = keyof typeof releases;
type Native = ((...args: unknown[]) => unknown) & { async: (...args: unknown[]) => void };

/** `GetApi(23)` of ONNX Runtime 1.23 and newer: the newest function used here is 149, from version 8. */
const apiVersion = 23;
/** koffi runs C on a stack of its own; graph optimisation recurses deeply. 16 MB is koffi's maximum. */
const stackBytes = 16 * 1024 * 1024;
/** libuv has 4 threads by default: three calls at once leave one for the disk, the rest wait here, not there. */
const callsAtOnce = 3;

/** The opened library. One per process: the C library keeps one environment. */
export class Ort {
  readonly version: string;
  readonly #koffi: Koffi;
  readonly #api: Handle;
  readonly #declared = new Map<number, Native>();
  readonly #waiting: (() => void)[] = [];
  #calling = 0;
  #memoryInfo: Handle | undefined;

  constructor(path: string) {
    koffi ??= loadKoffi();
    this.#koffi = koffi;
    const base = this.#load(path);
    const versionText = this.#method(base, 1, "str", [])();
    const api = this.#method(base, 0, "void *", ["uint32_t"])(apiVersion);
    this.version = String(versionText);
    if (!api) {
      throw new IroriError("library", {
        what: `${path} is too old`,
        got: `ONNX Runtime ${this.version}`,
        wanted: `1.${apiVersion} or newer`,
        next: "install onnxruntime-node 1.30.0",
      });
    }
    this.#api = api as Handle;
  }

  /** Calls a function that gives back nothing but a status. */
  call(name: OrtFunction, ...args: unknown[]): void {
    this.#check(this.#function(name)(...args));
  }

  /** Calls a function whose last parameter receives a pointer, and returns that pointer. */
  make(name: OrtFunction, ...args: unknown[]): Handle {
    const out: [Handle | null] = [null];
    this.#check(this.#function(name)(...args, out));
    return out[0] as unknown as Handle;
  }

  /** Calls a function whose last parameter receives a number. */
  number(name: OrtFunction, ...args: unknown[]): number {
    const out = [0];
    this.#check(this.#function(name)(...args, out));
    return Number(out[0]);
  }

  /** `call` on another thread. The arguments stay referenced until it returns. */
  async callAsync(name: OrtFunction, ...args: unknown[]): Promise<void> {
    this.#check(await this.#elsewhere(this.#function(name), args));
  }

  /** `make` on another thread. */
  async makeAsync(name: OrtFunction, ...args: unknown[]): Promise<Handle> {
    const out: [Handle | null] = [null];
    this.#check(await this.#elsewhere(this.#function(name), [...args, out]));
    return out[0] as unknown as Handle;
  }

  release(kind: OrtObject, object: Handle): void {
    this.#releaser(kind)(object);
  }

  /** Release on another thread: giving back a session's memory can take milliseconds. */
  async releaseAsync(kind: OrtObject, object: Handle): Promise<void> {
    await this.enter();
    try {
      await this.#elsewhere(this.#releaser(kind), [object]);
    } finally {
      this.leave();
    }
  }

  /** Waits until one of the three places for native calls is free. Give it back with `leave`. */
  async enter(): Promise<void> {
    if (this.#calling < callsAtOnce) this.#calling++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#calling--;
  }

  /** The description of plain memory that tensors over our own arrays need. */
  get cpuMemory(): Handle {
    this.#memoryInfo ??= this.make("CreateCpuMemoryInfo", 1, 0);
    return this.#memoryInfo;
  }

  /** The library's memory as an ArrayBuffer, without a copy. Valid as long as what owns it. */
  memoryAt(address: Handle, bytes: number): ArrayBuffer {
    return this.#koffi.view(address, bytes);
  }

  textAt(address: Handle): string {
    return this.#koffi.decode(address, "char", -1) as string;
  }

  #elsewhere(native: Native, args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      native.async(...args, (error: unknown, result: unknown) => {
        // Naming the arguments here keeps what they point to alive for as long as the other thread may look at it.
        if (error)
          reject(new IroriError("library", { what: "calling ONNX Runtime failed", got: args.length, cause: error }));
        else resolve(result);
      });
    });
  }

  #check(status: unknown): void {
    if (!status) return;
    const message = this.#declare(2, "str", ["void *"])(status);
    this.#releaser("Status")(status);
    throw new IroriError("library", { what: readableMessage(String(message)) });
  }

  #releaser(kind: OrtObject): Native {
    return this.#declare(releases[kind], "void", ["void *"]);
  }

  #function(name: OrtFunction): Native {
    const [index, parameters] = functions[name];
    const declared = this.#declared.get(index);
    if (declared) return declared;
    const types = [...parameters].map((letter) => this.#type(letter));
    return this.#declare(index, "void *", types);
  }

  #declare(index: number, result: unknown, parameters: unknown[]): Native {
    let declared = this.#declared.get(index);
    if (!declared) {
      declared = this.#method(this.#api, index, result, parameters);
      this.#declared.set(index, declared);
    }
    return declared;
  }

  #method(table: Handle, index: number, result: unknown, parameters: unknown[]): Native {
    const address = this.#koffi.decode(table, index * 8, "void *");
    return this.#koffi.decode(address, this.#koffi.proto(result, parameters)) as Native;
  }

  #type(letter: string): unknown {
    const { out, inout } = this.#koffi;
    const type = {
      p: () => "void *",
      o: () => out(this.#koffi.pointer("void", 2)),
      P: () => this.#koffi.pointer("void", 2),
      Q: () => inout(this.#koffi.pointer("void", 2)),
      O: () => out(this.#koffi.pointer("str")),
      s: () => "str",
      S: () => this.#koffi.pointer("str"),
      f: () => (process.platform === "win32" ? "str16" : "str"),
      i: () => "int",
      I: () => out(this.#koffi.pointer("int")),
      z: () => "size_t",
      Z: () => out(this.#koffi.pointer("size_t")),
      l: () => "void *",
    }[letter];
    if (!type) throw new Error(`no C type is written ${letter}`);
    return type();
  }

  #load(path: string): Handle {
    try {
      return this.#koffi.load(path).func("OrtGetApiBase", "void *", [])() as Handle;
    } catch (cause) {
      throw new IroriError("library", {
        what: `${path} cannot be loaded as ONNX Runtime`,
        got: cause instanceof Error ? cause.message : String(cause),
        next: "reinstall onnxruntime-node 1.30.0, or set libraryPath to a libonnxruntime of this platform",
        cause,
      });
    }
  }
}

interface Koffi {
  config(values: Record<string, number>): void;
  load(path: string): { func(name: string, result: unknown, parameters: unknown[]): Native };
  proto(result: unknown, parameters: unknown[]): unknown;
  decode(address: unknown, ...how: unknown[]): unknown;
  view(address: unknown, bytes: number): ArrayBuffer;
  pointer(type: unknown, depth?: number): unknown;
  out(type: unknown): unknown;
  inout(type: unknown): unknown;
}

let koffi: Koffi | undefined;

/** koffi takes its settings before it loads the first library, and never again. */
function loadKoffi(): Koffi {
  const loaded = requireKoffi();
  loaded.config({ sync_stack_size: stackBytes, async_stack_size: stackBytes });
  return loaded;
}

/** koffi's JavaScript loads https, crypto and zlib (20 ms); its native module alone takes 1 ms. */
function requireKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve("koffi/package.json"));
  try {
    return require(join(folder, "build", "koffi", `${process.platform}_${process.arch}`, "koffi.node"));
  } catch {
    // Another layout, or a system with musl: koffi's own search knows them all, and its error says what is missing.
    return require("koffi");
  }
}

/** ONNX Runtime's text without source files, line numbers and C++ signatures. */
export function readableMessage(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(
      /Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: /g,
      "$1 ($2) failed: ",
    )
    .replace(/\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : /g, "")
    .replace(/(?:[A-Za-z]:)?[\w./\\-]+\.(?:cc|cpp|hpp|h|inc):\d+ (?:[\w:~<>]+ )?/g, "")
    .trim()
    .replace(/\.$/, "");
}
