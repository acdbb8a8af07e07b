// Callers of one model: each with its own cancel; a model whose numbers are no numbers; a lease that was given back.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { IroriError } from "../src/base/mod.ts";
import { Engine, type EngineEvent } from "../src/engine/mod.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-lease-"));
  await writeTinyGguf(join(folder, "tiny.gguf"));
  await writeTinyGguf(join(folder, "nan.gguf"), { norm: Number.NaN });
});
after(() => rm(folder, { recursive: true }));

const events: EngineEvent[] = [];
const openEngine = (home: string) =>
  Engine.open({
    ...{ home: join(folder, home), threads: 1, spinning: false, budgetBytes: () => 8e9, now: () => performance.now() },
    onEvent: (event) => events.push(event),
  });
async function all<T>(events: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const event of events) list.push(event);
  return list;
}
const isCode = (code: string) => (error: unknown) => error instanceof IroriError && error.code === code;

test("who leaves while a model opens does not take it from the others", async () => {
  await using engine = await openEngine("leavers");
  const model = join(folder, "tiny.gguf");
  const [first, third] = [new AbortController(), new AbortController()];
  third.abort();
  const leaving = assert.rejects(engine.lease(model, { signal: first.signal }), isCode("cancelled"));
  const staying = engine.lease(model);
  const never = assert.rejects(engine.lease(model, { signal: third.signal }), isCode("cancelled"));
  setTimeout(() => first.abort(), 1);
  await Promise.all([leaving, never]);
  await using lease = await staying;
  assert.ok(lease.tokenize("hearth").length > 0);
  assert.equal(events.filter(({ type }) => type === "prepare").length, 1);
});

test("a generation that is cancelled while its model opens ends at once, with what there is", async () => {
  await using engine = await openEngine("early");
  await using lease = await engine.lease(join(folder, "tiny.gguf"), { warm: false });
  const signal = AbortSignal.timeout(1);
  const made = await all(lease.generate({ prompt: { text: "hearth" }, seed: 1 }, { signal }));
  const end = made.at(-1);
  assert.equal(end?.type === "end" && end.stop, "cancelled");
});

test("logits that are no numbers are never sampled from: one sentence", async () => {
  await using engine = await openEngine("nan");
  await using lease = await engine.lease(join(folder, "nan.gguf"));
  const answer = all(lease.generate({ prompt: { text: "hearth" }, seed: 1 }));
  await assert.rejects(answer, /its logits are not finite: got NaN/);
  await assert.rejects(lease.score(lease.tokenize("hearth")), /its logits are not finite/);
});

test("a GGUF with tensors that the family has no place for is refused: answers without them would be wrong", async () => {
  const path = join(folder, "biased.gguf");
  await writeTinyGguf(path, { stranger: "blk.0.attn_q.bias" });
  await using engine = await openEngine("biased");
  await assert.rejects(engine.lease(path), /holds 1 tensors that a llama has no place for: got blk\.0\.attn_q\.bias/);
});

test("a lease that was given back refuses everything", async () => {
  await using engine = await openEngine("given-back");
  const lease = await engine.lease(join(folder, "tiny.gguf"));
  await lease[Symbol.asyncDispose]();
  assert.throws(() => lease.tokenize("hearth"), isCode("bad-input"));
  await assert.rejects(lease.warm(), isCode("bad-input"));
});
