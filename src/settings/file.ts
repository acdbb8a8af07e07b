// The settings file: JSON, read whole, changed a key at a time and never left half written.
// It does not know what the settings mean.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { IroriError } from "../base/mod.ts";
import { isRecord } from "./rules.ts";

export interface SettingsFile {
  readonly path: string;
  readonly isThere: boolean;
  readonly content: Readonly<Record<string, unknown>>;
}

/** Throws "not-found" where a file that was asked for (`isNamed`) is missing, "bad-file" for what is no JSON object. */
export function readSettingsFile(path: string, isNamed: boolean): SettingsFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isMissing = code === "ENOENT" || code === "ENOTDIR";
    if (isMissing && !isNamed) return { path, isThere: false, content: {} };
    throw new IroriError(isMissing ? "not-found" : "io", {
      what: `the settings file ${path}`,
      got: message,
      next: isMissing ? "`irori settings set KEY VALUE` writes it" : undefined,
      cause: error,
    });
  }
  let content: unknown;
  try {
    content = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new IroriError("bad-file", {
      what: `the settings file ${path} is no JSON`,
      got: (error as Error).message,
      cause: error,
    });
  }
  if (!isRecord(content))
    throw new IroriError("bad-file", { what: `the settings file ${path}`, wanted: 'an object: { "threads": 4 }' });
  return { path, isThere: true, content };
}

/** Sets what stands at `at` (["memory", "recallCount"]) or, with undefined, takes it out; whether it was there. */
export function changeSettingsFile({ path, content }: SettingsFile, at: readonly string[], value: unknown): boolean {
  const { changed, wasThere } = withKey(content, at, value);
  if (value === undefined && !wasThere) return false;
  const beside = `${path}.${process.pid}.part`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(beside, `${JSON.stringify(changed, null, 2)}\n`, { flush: true });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new IroriError("io", {
      what: `the settings file ${path} cannot be written`,
      got: (error as Error).message,
      cause: error,
    });
  }
  return wasThere;
}

type Tree = Readonly<Record<string, unknown>>;

function withKey(tree: Tree, path: readonly string[], value: unknown): { changed: Tree; wasThere: boolean } {
  const [name = "", ...rest] = path;
  const wasHere = Object.hasOwn(tree, name);
  if (rest.length > 0) {
    const below = tree[name];
    const { changed, wasThere } = withKey(isRecord(below) ? below : {}, rest, value);
    const { [name]: _, ...others } = tree;
    if (Object.keys(changed).length === 0) return { changed: others, wasThere };
    return { changed: { ...tree, [name]: changed }, wasThere };
  }
  if (value !== undefined) return { changed: { ...tree, [name]: value }, wasThere: wasHere };
  const { [name]: _, ...others } = tree;
  return { changed: others, wasThere: wasHere };
}
