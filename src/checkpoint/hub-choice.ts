// Which of a repository's files are taken, by stated rules over their names. It fetches nothing.

import { IroriError } from "../base/mod.ts";
import { folderFiles } from "./folder-files.ts";

export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** Of large files; small ones have git's own hash. */
  readonly sha256?: string | undefined;
  readonly gitHash?: string | undefined;
}

export interface HubChoice {
  readonly layout: "file" | "folder";
  readonly files: readonly HubFile[];
  /** What was chosen among what, where nothing said which; with how to choose otherwise. */
  readonly note?: string;
}

/** The order in which a quantisation is taken where none is named: small and good first, then larger, then smaller ones. */
const order = [
  ...["Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K", "Q8_0"],
  ...["Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "BF16", "F16", "F32"],
];

const isGguf = ({ path }: HubFile): boolean => /\.gguf$/i.test(path) && !/(^|\/)mmproj/i.test(path);
const splitPart = /-\d{5}-of-\d{5}\.gguf$/i;

/** The quantisation that a file's name says: the longest that stands in it as a word. */
function quantOf(path: string): string | undefined {
  const words = [...order].sort((a, b) => b.length - a.length);
  return words.find((word) => hasWord(path, word));
}

const hasWord = (path: string, word: string): boolean =>
  new RegExp(`(^|[^A-Za-z0-9])${word.replace(/[^A-Za-z0-9_]/g, "\\$&")}([^A-Za-z0-9]|$)`, "i").test(
    path.replace(/\.gguf$/i, ""),
  );

/**
 * 1. A named file is taken. 2. A named quantisation takes the one .gguf file whose name says it. 3. Else safetensors with a
 * config.json, or the .gguf file whose quantisation comes first in a fixed order: where a repository has both, `prefers` decides.
 */
export function chooseFiles(
  all: readonly HubFile[],
  where: string,
  { pick, prefers }: { readonly pick?: string | undefined; readonly prefers: "gguf" | "safetensors" },
): HubChoice {
  if (pick !== undefined) return picked(all, where, pick);
  const ggufs = all.filter(isGguf);
  const names = all.map(({ path }) => path);
  const hasSafetensors = names.includes("config.json") && names.some((name) => /^[^/]+\.safetensors$/.test(name));
  if (ggufs.length > 0 && (prefers === "gguf" || !hasSafetensors)) return firstInOrder(ggufs, where, hasSafetensors);
  if (!hasSafetensors && names.some((name) => name.endsWith(".safetensors")) && !names.includes("config.json"))
    throw new IroriError("unsupported", {
      what: `${where}: weights without a config.json, which says what model they are of`,
      got: names.slice(0, 5).join(", "),
      next: "name the repository of the whole model",
    });
  const taken = folderFiles(names, where);
  return {
    layout: "folder",
    files: taken.map((name) => all[names.indexOf(name)] as HubFile),
    ...(ggufs.length > 0 && {
      note: `${where}: took its safetensors; ${where}:${quantOf((ggufs[0] as HubFile).path) ?? "FILE"} takes a .gguf file`,
    }),
  };
}

function picked(all: readonly HubFile[], where: string, pick: string): HubChoice {
  const file = all.find(({ path }) => path === pick);
  const found = file ? [file] : all.filter((each) => isGguf(each) && hasWord(each.path, pick));
  const [only] = found;
  if (only !== undefined && found.length === 1) return { layout: "file", files: [whole(only, where)] };
  const parts = found.filter(({ path }) => splitPart.test(path));
  if (parts.length > 0) whole(parts[0] as HubFile, where);
  const ggufs = all.filter(isGguf).map(({ path }) => path);
  const got = (found.length > 0 ? found.map(({ path }) => path) : ggufs).slice(0, 8).join(", ");
  if (found.length > 1)
    throw new IroriError("bad-input", {
      what: `${where}: files that ${pick} may mean`,
      got,
      wanted: "one",
      next: "name the file",
    });
  throw new IroriError("not-found", {
    what: `${where} has neither a file ${pick} nor a .gguf file of that quantisation`,
    got: got === "" ? "no .gguf file" : got,
  });
}

function firstInOrder(ggufs: readonly HubFile[], where: string, hasSafetensors: boolean): HubChoice {
  const rank = ({ path }: HubFile): number => {
    const at = order.indexOf(quantOf(path) ?? "");
    return at < 0 ? order.length : at;
  };
  // of equal ones the shorter name is the plainer variant
  const inOrder = [...ggufs].sort((a, b) => rank(a) - rank(b) || a.path.length - b.path.length);
  const first = whole(inOrder[0] as HubFile, where);
  if (ggufs.length === 1 && !hasSafetensors) return { layout: "file", files: [first] };
  const quants = [...new Set(inOrder.map(({ path }) => quantOf(path)).filter((quant) => quant !== undefined))];
  const others = quants.slice(1, 7).join(", ");
  const also = hasSafetensors ? "; its safetensors come with --form f32" : "";
  const note = `${where}: took ${first.path} of ${ggufs.length} .gguf files; ${where}:QUANTISATION takes another (${others || "none"})${also}`;
  return { layout: "file", files: [first], note };
}

/** A file that is not one part of several. */
function whole(file: HubFile, where: string): HubFile {
  if (!splitPart.test(file.path)) return file;
  throw new IroriError("unsupported", {
    what: `${where}: ${file.path} is one part of a split file`,
    next: "choose a smaller quantisation that is in one file, or join the parts with llama-gguf-split --merge and give file:PATH",
  });
}
