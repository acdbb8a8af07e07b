// The named inputs and outputs of a Program, and the check that given tensors fit them.
// It does not run anything: what is refused here never reaches the library.

import { IroriError } from "../base/mod.ts";
import type { Handle, Ort } from "./ort.ts";
import { type DType, readType, type Tensor } from "./tensor.ts";

export interface PortInfo {
  readonly name: string;
  readonly dtype: DType;
  /** Sizes; a symbolic size is its name, or -1 where it has none. */
  readonly shape: readonly (number | string)[];
}

export type Tensors = Readonly<Record<string, Tensor>>;

export function readPorts(ort: Ort, session: Handle, side: "Input" | "Output", program: string): readonly PortInfo[] {
  const allocator = ort.make("GetAllocatorWithDefaultOptions");
  return Array.from({ length: ort.number(`SessionGet${side}Count`, session) }, (_, i) => {
    const text = ort.make(`SessionGet${side}Name`, session, i, allocator);
    const name = ort.textAt(text);
    ort.call("AllocatorFree", allocator, text);
    const info = ort.make(`SessionGet${side}TypeInfo`, session, i);
    try {
      const tensor = ort.make("CastTypeInfoToTensorInfo", info);
      if (tensor) return { name, ...readType(ort, tensor, false) };
    } finally {
      ort.release("TypeInfo", info);
    }
    throw new IroriError("unsupported", {
      what: `${side.toLowerCase()} ${name} of ${program} is a sequence or map`,
      wanted: "tensors",
    });
  });
}

/** Throws unless every tensor fits the port of its name. An empty input would end the whole process (SIGFPE). */
export function checkFit(
  program: string,
  side: "input" | "output",
  ports: readonly PortInfo[],
  tensors: Tensors,
  all: boolean,
): void {
  let known = 0;
  for (const port of ports) {
    const tensor = Object.hasOwn(tensors, port.name) ? tensors[port.name] : undefined;
    if (tensor) {
      known++;
      checkPort(`${side} ${port.name} of ${program}`, port, tensor);
    } else if (all) {
      throw new IroriError("bad-input", {
        what: `${side} ${port.name} of ${program} is missing`,
        got: Object.keys(tensors).join(", ") || "nothing",
        wanted: signature(port),
      });
    }
  }
  if (known === Object.keys(tensors).length) return;
  const names = ports.map((port) => port.name);
  const unknown = Object.keys(tensors).find((name) => !names.includes(name));
  throw new IroriError("bad-input", { what: `${program} has no such ${side}`, got: unknown, wanted: names.join(", ") });
}

function checkPort(what: string, port: PortInfo, tensor: Tensor): void {
  const { dtype, shape } = tensor;
  const fits =
    dtype === port.dtype &&
    shape.length === port.shape.length &&
    port.shape.every((size, i) => typeof size === "string" || size === -1 || size === shape[i]);
  if (!fits) {
    throw new IroriError("bad-input", {
      what: `${what} does not fit`,
      got: signature(tensor),
      wanted: signature(port),
    });
  }
  if (shape.includes(0)) {
    throw new IroriError("bad-input", {
      what: `${what} is empty`,
      got: signature(tensor),
      wanted: "at least one element",
      next: "leave the run out where there is nothing to compute",
    });
  }
  void tensor.data; // refuses what was disposed of or detached
}

function signature({ dtype, shape }: { readonly dtype: DType; readonly shape: readonly (number | string)[] }): string {
  return `${dtype} [${shape.join(", ")}]`;
}
