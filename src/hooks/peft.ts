// LoRA adapters in peft's files: adapter_config.json and adapter_model.safetensors, read and written.
// It does not know graphs; a setting of peft that would change the numbers and is not done here is an error that names it.
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint, writeSafetensors } from "../checkpoint/mod.ts";
import type { LowRankValues } from "./lora.ts";

export interface Adapter {
  readonly changes: readonly LowRankValues[];
  /** adapter_config.json as it is, for writing it again. */
  readonly config: Readonly<Record<string, unknown>>;
}

const off = z.union([z.literal(false), z.null()]).optional();
const none = z.null().optional();
const schema = z.looseObject({
  peft_type: z.literal("LORA"),
  r: z.number().int().positive(),
  lora_alpha: z.number(),
  use_rslora: z.boolean().nullish(),
  rank_pattern: z.record(z.string(), z.number().int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  bias: z.literal("none").optional(),
  use_dora: off,
  lora_bias: off,
  use_qalora: off,
  modules_to_save: none,
  layer_replication: none,
  trainable_token_indices: none,
  target_parameters: none,
  alora_invocation_tokens: none,
  // others start from changed base weights, unless they were converted
  init_lora_weights: z.union([z.boolean(), z.literal("gaussian"), z.literal("orthogonal")]).nullish(),
});

const PREFIX = "base_model.model.";

/** Reads an adapter's folder. Throws "not-found", "bad-file", or "unsupported" naming the setting. */
export async function readAdapter(folder: string): Promise<Adapter> {
  const path = join(folder, "adapter_config.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", {
      what: `${folder} is no adapter: it has no adapter_config.json that can be read`,
      got: error.code,
      cause: error,
    });
  });
  const json = parseJson(text, path);
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new IroriError("unsupported", { what: `${path}: ${issue?.path.join(".")}`, got: issue?.message });
  }
  await using file = await openCheckpoint(join(folder, "adapter_model.safetensors"));
  const changes: LowRankValues[] = [];
  for (const [name, { shape }] of file.tensors) {
    const module = /^(.*)\.lora_A\.weight$/.exec(name)?.[1];
    if (module === undefined) {
      if (/\.lora_B\.weight$/.test(name)) continue;
      throw new IroriError("unsupported", {
        what: `${folder} holds ${name}`,
        wanted: "lora_A and lora_B weights alone",
      });
    }
    const bare = module.startsWith(PREFIX) ? module.slice(PREFIX.length) : module;
    const rank = shape[0] as number;
    changes.push({
      weight: `${bare}.weight`,
      rank,
      scale: scaleOf(parsed.data, bare, rank),
      a: await file.readFloat32(name),
      b: await file.readFloat32(`${module}.lora_B.weight`),
    });
  }
  return { changes, config: json as Adapter["config"] };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new IroriError("bad-file", { what: `${path} is not JSON`, got: (error as Error).message, cause: error });
  }
}

/** alpha / R; alpha / √R with rsLoRA; alpha by the first pattern that the module's name ends in, as peft matches them. */
function scaleOf(config: z.infer<typeof schema>, module: string, rank: number): number {
  const pattern = Object.entries(config.alpha_pattern ?? {}).find(([key]) =>
    new RegExp(`^(?:.*\\.)?(?:${key})$`).test(module),
  );
  const alpha = pattern?.[1] ?? config.lora_alpha;
  return alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
}

/** What peft must know of changes: ranks, alphas and modules. A config's own members stand in the place of these. */
function configOf(changes: readonly LowRankValues[]): Record<string, unknown> {
  const module = ({ weight }: LowRankValues): string => weight.replace(/\.weight$/, "");
  const [first] = changes;
  const alpha = ({ rank, scale }: LowRankValues): number => rank * scale;
  const others = changes.filter((each) => first && (each.rank !== first.rank || alpha(each) !== alpha(first)));
  return {
    ...{ peft_type: "LORA", task_type: "CAUSAL_LM", bias: "none", lora_dropout: 0 },
    ...(first && { r: first.rank, lora_alpha: alpha(first) }),
    target_modules: [...new Set(changes.map((each) => module(each).split(".").at(-1)))],
    ...(others.length > 0 && {
      rank_pattern: Object.fromEntries(others.map((each) => [module(each), each.rank])),
      alpha_pattern: Object.fromEntries(others.map((each) => [module(each), alpha(each)])),
    }),
  };
}

/** Writes an adapter that peft loads: its config (what it lacks is taken from the changes), and the values of its changes. */
export async function writeAdapter(folder: string, { changes, config }: Adapter): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tensors: Record<string, { readonly shape: readonly number[]; readonly data: Float32Array }> = {};
  for (const { weight, rank, a, b } of changes) {
    const module = `${PREFIX}${weight.replace(/\.weight$/, "")}`;
    tensors[`${module}.lora_A.weight`] = { shape: [rank, a.length / rank], data: a };
    tensors[`${module}.lora_B.weight`] = { shape: [b.length / rank, rank], data: b };
  }
  const path = join(folder, "adapter_config.json");
  // a folder without a config is no adapter: a crash between the two files leaves none that has the scale of another
  await rm(path, { force: true });
  await writeSafetensors(join(folder, "adapter_model.safetensors"), tensors);
  await writeFile(`${path}.part`, `${JSON.stringify({ ...configOf(changes), ...config }, undefined, 2)}\n`, {
    flush: true,
  });
  await rename(`${path}.part`, path);
}

/** W + scale · B A in place, for a weight [out, in], or its transpose where the family stores [in, out] (GPT-2). */
export function mergeInto(
  values: Float32Array,
  shape: readonly number[],
  change: LowRankValues,
  isInOut: boolean,
): void {
  const { rank, scale, a, b } = change;
  const [out, width] = isInOut ? [shape[1] as number, shape[0] as number] : [shape[0] as number, shape[1] as number];
  if (a.length !== rank * width || b.length !== rank * out)
    throw new IroriError("bad-input", {
      what: `the adapter's change of ${change.weight}`,
      got: `A [${rank}, ${a.length / rank}], B [${b.length / rank}, ${rank}]`,
      wanted: `A [${rank}, ${width}], B [${out}, ${rank}]`,
    });
  for (let o = 0; o < out; o++)
    for (let i = 0; i < width; i++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += (b[o * rank + r] as number) * (a[r * width + i] as number);
      const at = isInOut ? i * out + o : o * width + i;
      values[at] = (values[at] as number) + scale * sum;
    }
}
