// The engine of this process as a Host: leases held per model, prompts made into ids, answers as plain events.
// It does not know HTTP, lanes or other processes.
import { IroriError } from "../base/mod.ts";
import {
  CHUNK,
  type Choice,
  type Engine,
  type KvType,
  type Lease,
  type LeaseOptions,
  type Manifest,
  scratchBytes,
} from "../engine/mod.ts";
import type { Grammars } from "./grammar.ts";
import type {
  Encoded,
  Format,
  Host,
  HostCall,
  HostEvent,
  HostPrompt,
  HostRequest,
  MemoryUse,
  ModelFacts,
  StoredFacts,
  TokenChance,
} from "./host.ts";
import { type InsideFiles, InsideStore } from "./inside-files.ts";
import { kvOf } from "./kv-plan.ts";

/** Tokens whose text tells how a prompt ends. */
const TAIL = 8;

export interface EngineHostOptions {
  readonly engine: Engine;
  /** Answers at once for which Programs are opened before a model is called ready. */
  readonly rows: number;
  readonly lease?: Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType"> | undefined;
  readonly freeBytes: () => number;
  /** Bytes of this process that no file backs. */
  readonly privateBytes: () => number;
  /** Adapters and vectors that requests may name. Default: none. */
  readonly inside?: InsideFiles | undefined;
}

export class EngineHost implements Host {
  readonly #options: EngineHostOptions;
  readonly #leases = new Map<string, Promise<Lease>>();
  readonly #inside: InsideStore;
  #grammars: Promise<Grammars> | undefined;

  constructor(options: EngineHostOptions) {
    this.#options = options;
    this.#inside = new InsideStore(options.inside);
  }

  async measure(model: string, options: Parameters<Host["measure"]>[1] = {}): Promise<ModelFacts> {
    const { engine, lease } = this.#options;
    const { model: name, manifest, mappedBytes } = await engine.describe(model, { ...lease, ...options });
    return factsOf(name, manifest, { kvType: lease?.kvType ?? "f32", mappedBytes });
  }

  async load(model: string, options: Parameters<Host["load"]>[1] = {}): Promise<ModelFacts> {
    const { engine, rows, lease: wanted } = this.#options;
    let opening = this.#leases.get(model);
    if (opening === undefined) {
      opening = engine.lease(model, { ...wanted, ...options });
      this.#leases.set(model, opening);
      opening.catch(() => this.#leases.delete(model));
    }
    const lease = await opening;
    await lease.warm(rows);
    return this.measure(model);
  }

  async unload(model: string): Promise<void> {
    const lease = await this.#leases.get(model);
    this.#leases.delete(model);
    if (lease !== undefined) await this.#options.engine.close(lease.model);
  }

  async #leaseOf(model: string): Promise<Lease> {
    const lease = await this.#leases.get(model);
    if (lease !== undefined) return lease;
    throw new IroriError("not-found", { what: `${model} is not loaded`, next: "load it first" });
  }

  async encode(model: string, prompt: HostPrompt): Promise<Encoded> {
    const lease = await this.#leaseOf(model);
    const ids = await lease.promptIds(prompt);
    return { ids, tail: lease.detokenize(ids.slice(-TAIL), { control: true }) };
  }

  async *generate(model: string, request: HostRequest, call: HostCall = {}): AsyncGenerator<HostEvent, void> {
    const lease = await this.#leaseOf(model);
    const { ids, format, hasControl, stop, ignoreEos, adapter, interventions, ...rest } = request;
    const inside = { adapter: await this.#inside.adapter(adapter), ...(await this.#inside.vectorsOf(interventions)) };
    using constraint = format && (await this.#constraint(lease, format));
    const held = { constraint, pause: call.pause, stop: stop ?? [], ignoreEos: ignoreEos ?? false };
    const answer = lease.generate({ ...rest, ...held, ...inside, prompt: { ids } }, { signal: call.signal });
    for await (const event of answer) {
      if (event.type !== "token") yield event;
      else {
        const { logprobs, ...token } = event;
        const control = hasControl && token.text === "" ? controlOf(lease, token.id) : undefined;
        yield { ...token, ...(control && { control }), ...(logprobs && { chance: chanceOf(lease, logprobs) }) };
      }
    }
  }

  async #constraint(lease: Lease, format: Format) {
    // 5 MB of compiled code: loaded with the first answer that wants it
    this.#grammars ??= import("./grammar.ts").then(({ Grammars }) => Grammars.open());
    return (await this.#grammars).constraint(lease, format);
  }

  async embed(model: string, texts: readonly string[], options: Parameters<Host["embed"]>[2] = {}) {
    return (await this.#leaseOf(model)).embed(texts, options);
  }

  inside() {
    return this.#inside.facts();
  }
  async hookPoints(model: string) {
    return (await this.#leaseOf(model)).hookPoints();
  }
  async captureSizes(model: string, patterns: readonly string[], tokens: number) {
    return (await this.#leaseOf(model)).captureSizes(patterns, tokens);
  }

  async stored(): Promise<readonly StoredFacts[]> {
    const models = await this.#options.engine.store.list();
    return models.map(({ name, bytes, sha256, pulledAt }) => ({ name, bytes, sha256: sha256 ?? "", pulledAt }));
  }
  async pull(model: string, options: Parameters<Host["pull"]>[1] = {}): Promise<void> {
    await this.#options.engine.pull(model, options);
  }
  async remove(model: string): Promise<void> {
    await this.unload(model);
    await this.#options.engine.store.remove(model);
  }

  async memory(): Promise<MemoryUse> {
    const { freeBytes, privateBytes } = this.#options;
    return {
      privateBytes: privateBytes(),
      residentBytes: process.memoryUsage.rss(),
      freeBytes: freeBytes(),
      pid: process.pid,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opening of this.#leases.values()) await (await opening.catch(() => undefined))?.[Symbol.asyncDispose]();
    this.#leases.clear();
    await this.#options.engine[Symbol.asyncDispose]();
  }
}

function factsOf(
  model: string,
  manifest: Manifest,
  { kvType, mappedBytes }: { readonly kvType: KvType; readonly mappedBytes: number },
): ModelFacts {
  const { config, family, isDecoder, chatTemplate } = manifest;
  return {
    ...{ model, family, isDecoder, context: config.maxPositions, vocabSize: config.vocabSize },
    ...{ layers: config.layers, hiddenSize: config.hiddenSize, chatTemplate, weightBytes: mappedBytes },
    parameters: manifest.report.reduce((sum, { parameters }) => sum + parameters, 0),
    form: formOf(manifest),
    kv: kvOf(config, kvType),
    ...{ scratchBytes: scratchBytes(config, CHUNK), ownBytes: PROGRAMS_BYTES + config.vocabSize * TOKEN_BYTES },
  };
}

/** What Programs and arenas of a model that has run take, and each token of its vocabulary: fitted to two models (bench/residency.ts). */
const PROGRAMS_BYTES = 33e6;
const TOKEN_BYTES = 160;

/** How most of the weights are kept. */
const formOf = ({ report }: Manifest): string =>
  report.toSorted((a, b) => b.parameters - a.parameters)[0]?.form ?? "no weights";

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A control token's text; nothing of one that ends the answer. */
function controlOf({ tokenizer }: Lease, id: number): string | undefined {
  return tokenizer.isControl(id) && !tokenizer.eosIds.includes(id)
    ? textOf(tokenizer.bytesOf(id, { control: true }))
    : undefined;
}

function chanceOf(
  { tokenizer }: Lease,
  { id, logprob, top }: Choice,
): TokenChance & { readonly top: readonly TokenChance[] } {
  const of = (token: { readonly id: number; readonly logprob: number }): TokenChance => {
    const bytes = tokenizer.bytesOf(token.id, { control: true });
    return { ...token, text: textOf(bytes), bytes: [...bytes] };
  };
  return { ...of({ id, logprob }), top: top.map(of) };
}
