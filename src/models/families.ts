// The families Irori knows, one row each.
import { IroriError, nearest } from "../base/mod.ts";
import { bert, roberta, xlmRoberta } from "./bert.ts";
import { distilbert } from "./distilbert.ts";
import type { Config, Decoder, Family } from "./family.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gptNeo } from "./gpt-neo.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { olmo2 } from "./olmo2.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { smollm3 } from "./smollm3.ts";

const table: Family[] = [
  ...[llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3, olmo2, smollm3],
  ...[gpt2, gptNeo, gptNeox],
  ...[bert, roberta, xlmRoberta, distilbert],
] as Family[];
/** Every family there is. */
export const families: readonly Family[] = table;

/** A family of one's own, for this process: its checkpoints open as those of the others do. */
export function addFamily<C extends Config>(family: Family<C>): void {
  const known = table.find(
    ({ name, modelTypes }) => name === family.name || modelTypes.some((type) => family.modelTypes.includes(type)),
  );
  if (known !== undefined)
    throw new IroriError("bad-input", {
      what: "a family's name or model_type",
      got: family.name,
      wanted: `another than ${known.name}'s`,
    });
  table.push(family as unknown as Family);
}

/** The family of a config.json's `model_type`. */
export function familyOf(modelType: string): Family {
  return find(modelType, (family) => family.modelTypes.includes(modelType));
}
/** The family of a GGUF's `general.architecture`; throws "unsupported" with the nearest that are known. */
export function familyOfGguf(architecture: string): Family {
  const family = families.find((each) => each.gguf?.architectures.includes(architecture));
  if (family !== undefined) return family;
  const known = families.flatMap((each) => each.gguf?.architectures ?? []);
  const [near] = nearest(architecture, known, 1);
  throw new IroriError("unsupported", {
    what: `the GGUF is of architecture ${JSON.stringify(architecture)}, which Irori does not run`,
    got: near === undefined ? undefined : `nothing nearer than ${near}`,
    wanted: known.join(", "),
    next: "another model, or its safetensors where `irori` knows their model_type, will do",
  });
}
/** A family by its own name, as manifests keep it. */
export const familyNamed = (name: string): Family => find(name, (each) => each.name === name);

/** The decoder of a name; throws for an encoder, which makes hidden states but no text. */
export function decoderNamed(name: string): Decoder {
  const family = familyNamed(name);
  if (family.head !== undefined) return family as Decoder;
  throw new IroriError("unsupported", {
    what: `a ${name} makes no text: it is an encoder`,
    wanted: families.flatMap((each) => (each.head === undefined ? [] : [each.name])).join(", "),
  });
}
function find(name: string, is: (family: Family) => boolean): Family {
  const family = families.find(is);
  if (family !== undefined) return family;
  const known = families.map((each) => each.name).join(", ");
  throw new IroriError("unsupported", { what: `the architecture "${name}" is not known`, wanted: `one of ${known}` });
}
