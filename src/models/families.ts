// The families Irori knows, one row each.
import { IroriError } from "../base/mod.ts";
import type { Family } from "./family.ts";
import { llama } from "./llama.ts";

export const families: readonly Family[] = [llama as Family];

/** The family of a config.json's `model_type`. */
export function familyOf(modelType: string): Family {
  return find(modelType, (family) => family.name === modelType);
}
/** The family of a GGUF's `general.architecture`. */
export function familyOfGguf(architecture: string): Family {
  return find(architecture, (family) => family.ggufNames.includes(architecture));
}
function find(name: string, is: (family: Family) => boolean): Family {
  const family = families.find(is);
  if (family !== undefined) return family;
  const known = families.map((each) => each.name).join(", ");
  throw new IroriError("unsupported", { what: `the architecture "${name}" is not known`, wanted: `one of ${known}` });
}
