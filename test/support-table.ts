// The table of families in docs/models.md, from the families themselves and from what their goldens compare.
// `node test/support-table.ts` writes it; docs.test.ts compares.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { families } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { goldenFamily, wholeForward } from "./golden-family.ts";

const page = fileURLToPath(new URL("../docs/models.md", import.meta.url));
const [BEGIN, END] = ["<!-- families: test/support-table.ts writes this -->", "<!-- end of families -->"];

async function rowOf(name: string): Promise<string> {
  const golden = await goldenFamily(name);
  const { family, config, names } = golden;
  const { hidden, logits } = wholeForward(golden);
  const hooks = t.hookPoints(t.graph({ out: logits ?? hidden })).length;
  const has = (prefix: string): number => names.filter((each) => each.startsWith(prefix)).length;
  const compared = [
    logits && "logits",
    has("hidden_states.") > 0 && "hidden states",
    has("attentions.") > 0 && "patterns",
    has("pooler_output") > 0 && "pooled",
    has("greedy") > 0 && "greedy",
    has("grad.") > 0 && `loss, ${has("grad.")} gradients`,
  ].filter((each) => typeof each === "string");
  const parts = family.parts?.(config);
  const processing =
    parts && ["fold_ln", parts.isCentring && "centring", parts.values && "value biases"].filter(Boolean).join(", ");
  const cells = [
    family.name,
    family.modelTypes.join(", "),
    compared.join(", "),
    family.head ? (config.windows?.some((window) => window !== null) ? "yes, windows" : "yes") : "–",
    String(hooks),
    processing ?? "–",
    family.head ? family.loraTargets.join(", ") : "–",
    family.gguf?.architectures.join(", ") ?? "–",
  ];
  return `| ${cells.join(" | ")} |`;
}

/** The lines between the marks. */
async function supportTable(): Promise<string> {
  const head = [
    "family",
    "model_type",
    "compared with transformers",
    "KvCache",
    "HookPoints of the golden",
    "processing",
    "LoRA by default",
    "GGUF",
  ];
  const rows: string[] = [];
  for (const { name } of families) rows.push(await rowOf(name));
  return [`| ${head.join(" | ")} |`, `|${head.map(() => "---|").join("")}`, ...rows].join("\n");
}

/** docs/models.md as it is, and as it should be. */
export async function pages(): Promise<{ readonly is: string; readonly should: string }> {
  const is = readFileSync(page, "utf8");
  const [before, rest] = is.split(BEGIN) as [string, string];
  const after = rest.split(END)[1] as string;
  return { is, should: `${before}${BEGIN}\n${await supportTable()}\n${END}${after}` };
}

if (import.meta.main) writeFileSync(page, (await pages()).should);
