// One component of a tokenizer.json by its schema, and the sentences for what is broken or not run.
// It does not know which components there are.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";

export const isSet = z.boolean().default(false);

/** A component: its type, and whatever else belongs to it. */
export const part = z.looseObject({ type: z.string() });
export type Part = z.infer<typeof part>;

/** Throws "bad-file" naming the place where `value` is not what it should be. */
export function parse<T>(shape: z.ZodType<T>, value: unknown, name: string): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new IroriError("bad-file", {
    what: `${name} is not what its name says`,
    got: `at ${issue?.path.join(".") || "the top"}: ${issue?.message}`,
    next: "fetch the file again from the source of the model",
    cause: result.error,
  });
}

export function unsupported(what: string, got: string, wanted?: string): IroriError {
  return new IroriError("unsupported", {
    what: `tokenizer.json has ${what} that Irori does not run`,
    got,
    wanted,
    next: "give the model token ids, or use another checkpoint of it",
  });
}

function childrenOf(node: Part, key: string): Part[] {
  return parse(z.array(part), node[key], `the ${node.type}'s ${key} in tokenizer.json`);
}

/** The components in order, those of a Sequence in its place; `key` is what its list is called. */
export function flatten(node: Part | null | undefined, key: string): Part[] {
  if (node == null) return [];
  return node.type === "Sequence" ? childrenOf(node, key).flatMap((child) => flatten(child, key)) : [node];
}

/** Reads a component by the reader of its type; one without a reader is refused by its name. */
export function readPart<T>(readers: Readonly<Record<string, (node: Part) => T>>, node: Part, what: string): T {
  const read = Object.hasOwn(readers, node.type) ? readers[node.type] : undefined;
  if (read !== undefined) return read(node);
  throw unsupported(what, JSON.stringify(node.type), Object.keys(readers).join(", "));
}
