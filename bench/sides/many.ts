// Irori's side of bench/many.ts, in a process of its own: many answers, prefixes, candidates and texts at once.
// It does not know the other sides, rounds or statistics.
import { Engine, type GenerateRequest, GREEDY, type Lease, type LeaseForm } from "../../src/engine/mod.ts";
import { answer, decodeRate, type Opening, PREFILL_TOKENS, promptIds, type Request } from "../work.ts";
import {
  CANDIDATE_TOKENS,
  CANDIDATES,
  manyPrompts,
  PREFIX_TOKENS,
  rateOfAll,
  SCORED_PROMPT,
  STEPS,
} from "../work-many.ts";

const now = () => performance.now();
let engine: Engine;
let opening: Opening;
const leases = new Map<string, Promise<Lease>>();

async function open(request: Request): Promise<void> {
  opening = request.opening as Opening;
  const { home, threads, spinning } = opening;
  engine = await Engine.open({ home, threads, spinning, now, budgetBytes: () => Number.MAX_SAFE_INTEGER });
}

function leaseOf(form: LeaseForm, hasInt8Prompts = false): Promise<Lease> {
  const key = `${form} ${hasInt8Prompts}`;
  const lease = leases.get(key) ?? engine.lease(opening.model, { form, hasInt8Prompts });
  leases.set(key, lease);
  return lease;
}

const requestOf = (ids: readonly number[], maxTokens: number): GenerateRequest => ({
  ...{ prompt: { ids }, maxTokens, seed: 1, sampling: GREEDY, ignoreEos: true },
});

/** Moments of an answer's tokens. */
async function tokens(lease: Lease, ids: readonly number[], maxTokens: number): Promise<number[]> {
  const at: number[] = [];
  for await (const event of lease.generate(requestOf(ids, maxTokens))) if (event.type === "token") at.push(now());
  return at;
}

/** Tokens a second of so many answers at once, in all, while all of them are decoded. */
async function decode({ rows = 1, form }: Request): Promise<number> {
  const lease = await leaseOf((form as LeaseForm | undefined) ?? "blocks");
  await lease.warm(rows);
  const { vocabSize } = lease.manifest.config;
  return rateOfAll(await Promise.all(manyPrompts(rows, vocabSize).map((ids) => tokens(lease, ids, STEPS))));
}

/** Milliseconds between tokens (median) of one answer while others are made beside it. */
async function step({ rows = 1 }: Request): Promise<number> {
  const lease = await leaseOf("blocks");
  await lease.warm(rows);
  const all = await Promise.all(
    manyPrompts(rows, lease.manifest.config.vocabSize).map((ids) => tokens(lease, ids, STEPS)),
  );
  return 1000 / decodeRate(all[0] as number[]);
}

async function prefill({ isInt8 }: Request): Promise<number> {
  const lease = await leaseOf("blocks", isInt8 === true);
  const start = now();
  // a first token that differs each time: nothing is reused
  const [first] = await tokens(lease, [fresh++, ...promptIds(PREFILL_TOKENS - 1, lease.manifest.config.vocabSize)], 1);
  return (PREFILL_TOKENS * 1000) / ((first as number) - start);
}
let fresh = 100;

/** Milliseconds to the first token of a prompt of PREFIX_TOKENS and 20 more, the first of them read before or not. */
async function prefix({ isShared }: Request): Promise<number> {
  const lease = await leaseOf("blocks");
  const { vocabSize } = lease.manifest.config;
  const first = isShared === true ? [99] : [fresh++];
  const shared = [...first, ...promptIds(PREFIX_TOKENS - 1, vocabSize)];
  if (isShared === true) await tokens(lease, [...shared, 7, 8, 9], 1);
  const own = Array.from({ length: 20 }, (_, i) => (fresh++ * 31 + i) % vocabSize);
  const start = now();
  const [at] = await tokens(lease, [...shared, ...own], 1);
  return (at as number) - start;
}

/** Milliseconds to score candidates of one prompt that nobody has read, together or each with a prompt of its own. */
async function candidates({ isTogether }: Request): Promise<number> {
  const lease = await leaseOf("blocks");
  const { vocabSize } = lease.manifest.config;
  const prompt = () => ({ ids: [fresh++, ...promptIds(SCORED_PROMPT - 1, vocabSize)] });
  const all = Array.from({ length: CANDIDATES }, (_, c) =>
    Array.from({ length: CANDIDATE_TOKENS }, (_, i) => (c * 977 + i * 131 + 17) % vocabSize),
  );
  const start = now();
  if (isTogether === true) await lease.scoreContinuations(prompt(), all);
  else for (const ids of all) await lease.scoreContinuations(prompt(), [ids]);
  return now() - start;
}

/** Tokens a second of an answer that repeats its prompt, or of one that does not, with or without trying what followed before. */
async function speculate({ isCopy, isTried }: Request): Promise<number> {
  const lease = await leaseOf("blocks");
  const passage = "The hearth stood in the middle of the house, and the people sat around it and talked until late. ";
  const story = { messages: [{ role: "user", content: "Tell me a story about a fox." }] };
  const prompt = isCopy === true ? { text: passage.repeat(3) } : story;
  const at: number[] = [];
  const request = {
    prompt,
    maxTokens: 2 * STEPS,
    seed: 1,
    sampling: GREEDY,
    ignoreEos: true,
    speculate: isTried === true,
  };
  for await (const event of lease.generate(request)) if (event.type === "token") at.push(now());
  return decodeRate(at);
}

/** Texts a second, in one call or one by one. */
async function embed({ texts, isBatch, form }: Request): Promise<{ rate: number; vector: number[] }> {
  const lease = await leaseOf(form as LeaseForm);
  const all = texts as readonly string[];
  const start = now();
  let vector: Float32Array | undefined;
  if (isBatch === true) [vector] = (await lease.embed(all)).vectors;
  else
    for (const text of all) {
      const { vectors } = await lease.embed([text]);
      vector ??= vectors[0];
    }
  return { rate: (all.length * 1000) / (now() - start), vector: [...(vector ?? [])] };
}

answer({ open, decode, step, prefill, prefix, candidates, speculate, embed });
