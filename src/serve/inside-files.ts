// Adapters and vectors that requests name, read from files when first named. Callers know names only, never paths.
// It does not know HTTP or what is done with them.
import { stat } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";
import { readSafetensors } from "../checkpoint/mod.ts";
import type { Adapter, InterventionSpec, Numbers } from "../hooks/mod.ts";
import type { InsideFacts } from "./host.ts";

export interface InsideFiles {
  /** Folders of LoRA adapters in peft's files, by name. */
  readonly adapters?: Readonly<Record<string, string>> | undefined;
  /** Safetensors files, by name: NAME is the file's only tensor, NAME/TENSOR one of several. */
  readonly vectors?: Readonly<Record<string, string>> | undefined;
}

interface Read<T> {
  /** Of the file: what was written since is read again. */
  readonly stamp: string;
  readonly value: Promise<T>;
}

export class InsideStore {
  readonly #files: InsideFiles;
  readonly #adapters = new Map<string, Read<Adapter>>();
  readonly #vectors = new Map<string, Read<Readonly<Record<string, Numbers>>>>();

  constructor(files: InsideFiles = {}) {
    this.#files = files;
  }

  /** Throws "not-found" with the names there are. */
  async adapter(name: string | undefined): Promise<Adapter | undefined> {
    if (name === undefined) return undefined;
    const folder = this.#files.adapters?.[name];
    if (folder === undefined) throw missing("adapter", name, Object.keys(this.#files.adapters ?? {}));
    return read(this.#adapters, folder, `${folder}/adapter_model.safetensors`, async () => {
      const { readAdapter } = await import("../hooks/mod.ts");
      return readAdapter(folder);
    });
  }

  /** Interventions with the tensors that they name. Throws "not-found" with the names there are. */
  async vectorsOf(interventions: readonly InterventionSpec[] | undefined) {
    if (interventions === undefined) return {};
    const tensors: Record<string, Numbers> = {};
    for (const name of interventions.flatMap(namesIn)) tensors[name] = await this.#vector(name);
    return { interventions, tensors };
  }

  async #vector(name: string): Promise<Numbers> {
    const [file = "", tensor] = name.split("/", 2);
    const path = this.#files.vectors?.[file];
    const all = path === undefined ? {} : await this.#tensorsOf(path);
    const names = Object.keys(all);
    const found = all[tensor ?? (names.length === 1 ? (names[0] as string) : "")];
    if (found) return found;
    throw missing(
      "vector",
      name,
      (await this.facts()).vectors.map((one) => one.name),
    );
  }
  #tensorsOf(path: string) {
    return read(this.#vectors, path, path, () => readSafetensors(path));
  }

  async facts(): Promise<InsideFacts> {
    const { adapters = {}, vectors = {} } = this.#files;
    const tuned = await Promise.all(
      Object.keys(adapters).map(async (name) => {
        const { changes = [] } = (await this.adapter(name)) ?? {};
        return { name, rank: Math.max(0, ...changes.map(({ rank }) => rank)), weights: changes.length };
      }),
    );
    const files = await Promise.all(
      Object.entries(vectors).map(async ([name, path]) => {
        const tensors = Object.entries(await this.#tensorsOf(path));
        return tensors.map(([own, { shape }]) => ({ name: tensors.length === 1 ? name : `${name}/${own}`, shape }));
      }),
    );
    return { adapters: tuned, vectors: files.flat() };
  }
}

/** Tensors that a spec names. */
const namesIn = (spec: InterventionSpec): readonly string[] =>
  [
    "vector" in spec ? spec.vector : undefined,
    "value" in spec ? spec.value : undefined,
    "of" in spec ? spec.of : undefined,
  ].filter((name) => typeof name === "string");

async function read<T>(known: Map<string, Read<T>>, key: string, file: string, make: () => Promise<T>): Promise<T> {
  const { mtimeMs, size } = await stat(file).catch((cause: NodeJS.ErrnoException) => {
    throw new IroriError("not-found", { what: "a file that the server was given is gone", got: cause.code, cause });
  });
  const stamp = `${mtimeMs} ${size}`;
  const found = known.get(key);
  if (found?.stamp === stamp) return found.value;
  const value = make();
  known.set(key, { stamp, value });
  value.catch(() => known.delete(key)); // told to whoever asked
  return value;
}

const missing = (what: string, name: string, names: readonly string[]): IroriError =>
  new IroriError("not-found", {
    what: `there is no ${what} ${JSON.stringify(name)} here`,
    wanted: names.join(", ") || "none was given",
  });
