// What of the inside is changed, from files: an adapter's folder, interventions as JSON, the tensors that they name.
// It does not know commands; what it needs is loaded where it is asked for.
import { readFile } from "node:fs/promises";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { readSafetensors } from "../checkpoint/mod.ts";
import type { GenerateRequest } from "../engine/mod.ts";
import type { InterventionSpec } from "../hooks/mod.ts";
import type { Arguments } from "./arguments.ts";

export const insideArgs = {
  adapter: { type: "string", valueHint: "FOLDER", description: "A LoRA adapter in peft's files, applied" },
  interventions: { type: "string", valueHint: "spec.json", description: "What to change inside (docs/hooks.md)" },
  tensors: { type: "string", valueHint: "t.safetensors", description: "Tensors that the interventions name" },
} as const satisfies ArgsDef;

export type InsideRequest = Required<Pick<GenerateRequest, "adapter" | "interventions" | "tensors">>;

/** Nothing is read where nothing is asked. */
export async function readInside(args: Arguments): Promise<InsideRequest> {
  const [adapter, specs, tensors] = ["adapter", "interventions", "tensors"].map((name) => args.text(name));
  if (tensors !== undefined && specs === undefined && args.text("input") === undefined)
    throw new IroriError("bad-input", { what: "--tensors", wanted: "--interventions that name them" });
  const { readAdapter } = adapter === undefined ? {} : await import("../hooks/mod.ts");
  return {
    adapter: adapter === undefined ? undefined : await readAdapter?.(adapter),
    interventions: specs === undefined ? undefined : await readSpecs(specs),
    tensors: tensors === undefined ? undefined : await readSafetensors(tensors),
  };
}

async function readSpecs(path: string): Promise<readonly InterventionSpec[]> {
  const { readInterventionSpecs } = await import("../hooks/mod.ts");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  try {
    return readInterventionSpecs(JSON.parse(text));
  } catch (error) {
    if (error instanceof IroriError) throw error;
    throw new IroriError("bad-input", { what: `${path} is not JSON`, got: (error as Error).message, cause: error });
  }
}
