// Where each weight of a family stands in a checkpoint: under which name, in which order of rows. Where the checkpoint and
// its configuration contradict each other, every contradiction is told. It reads no values.
import { IroriError } from "../base/mod.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint/mod.ts";
import type { Config, Family, Gguf } from "../models/mod.ts";

export interface Located {
  /** The family's name and shape of the weight. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly info: TensorInfo;
  /** Row r of the weight is row `rows(r)` of the tensor. */
  readonly rows?: ((row: number) => number) | undefined;
  /** The weight's values are the tensor's plus this. */
  readonly offset: number;
  /** The tensor has rows where the weight has columns. */
  readonly isTransposed: boolean;
  /** The weight is a linear layer whose rows are its inputs (GPT-2): its blocks lie along its columns. */
  readonly isInOut: boolean;
}

const shownContradictions = 5;

/** Every weight of the family in the checkpoint. A tensor of a GGUF that no weight stands for would be missed: refused. */
export function locateAll(checkpoint: Checkpoint, family: Family, config: Config): readonly Located[] {
  const located: Located[] = [];
  const contradictions: string[] = [];
  for (const [name, shape] of family.weights(config)) {
    const { names, offset = 0, isTransposed = false, rows } = placeOf(checkpoint, family, config, name);
    const info = names.map((each) => checkpoint.tensors.get(each)).find((each) => each !== undefined);
    const wanted = isTransposed ? [...shape].reverse() : shape;
    if (info === undefined) contradictions.push(`${names[0]} is missing`);
    else if (info.shape.join() !== wanted.join())
      contradictions.push(`${info.name} is [${info.shape}] instead of [${wanted}]`);
    else {
      const isInOut = family.gguf?.tensor(config, name).isTransposed ?? false;
      located.push({ name, shape, info, rows, offset, isTransposed, isInOut });
    }
  }
  const used = new Set([...located.map(({ info }) => info.name), ...(family.gguf?.settings ?? [])]);
  const unused = [...checkpoint.tensors.keys()].filter((name) => !used.has(name));
  // weights of more layers than the configuration has: it belongs to another model
  const beyond = unused.filter(
    (name) => Number(/(?:^|\.)(?:layers?|h|blk)\.(\d+)\./.exec(name)?.[1] ?? -1) >= config.layers,
  );
  if (beyond.length > 0) contradictions.push(`${beyond[0]} belongs to a layer beyond ${config.layers}`);
  if (contradictions.length > 0) throw contradicted(checkpoint, family, config, contradictions);
  if (checkpoint.format !== "gguf" || unused.length === 0) return located;
  throw new IroriError("unsupported", {
    what: `${checkpoint.files[0]} holds ${unused.length} tensors that a ${family.name} has no place for`,
    got: unused.slice(0, 3).join(", "),
    next: "answers without them would be wrong; another file of the model may do",
  });
}

function contradicted(checkpoint: Checkpoint, family: Family, config: Config, all: readonly string[]): IroriError {
  const shown = all.slice(0, shownContradictions);
  const more = all.length - shown.length;
  return new IroriError("bad-file", {
    what: `${checkpoint.files[0]}: its tensors are not those of a ${family.name} with ${config.layers} layers of ${config.hiddenSize}, as its configuration says`,
    got: `${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
    next: "fetch the model again, configuration and weights together",
  });
}

/** Whether a weight of the family is in the checkpoint, under any of its names. */
export const hasWeight = (checkpoint: Checkpoint, family: Family, config: Config, name: string): boolean =>
  placeOf(checkpoint, family, config, name).names.some((each) => checkpoint.tensors.has(each));

interface Place extends Partial<Pick<Located, "rows" | "offset" | "isTransposed">> {
  /** Names that the weight may have, the usual one first. */
  readonly names: readonly string[];
}

function placeOf(checkpoint: Checkpoint, family: Family, config: Config, name: string): Place {
  if (checkpoint.format === "gguf") {
    const { name: stored, ...place } = (family.gguf as Gguf<Config>).tensor(config, name);
    return { names: [stored], ...place };
  }
  const { prefix } = family;
  const names = [name, name.startsWith(prefix) ? name.slice(prefix.length) : `${prefix}${name}`];
  // checkpoints converted from TensorFlow
  const old = (each: string) =>
    each.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta");
  return { names: [...names, ...names.map(old)] };
}
