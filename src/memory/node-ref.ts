// References to places in the Knowledge: "episode:ID" and "concept:ID". It does not know what is there.
import { IroriError } from "../base/mod.ts";

/** Throws "bad-input" for what is no reference. */
export function partsOf(ref: string): ["episode" | "concept", string] {
  const at = ref.indexOf(":");
  const kind = ref.slice(0, at);
  if ((kind === "episode" || kind === "concept") && at < ref.length - 1) return [kind, ref.slice(at + 1)];
  throw new IroriError("bad-input", { what: "a node", got: JSON.stringify(ref), wanted: "episode:ID or concept:ID" });
}
