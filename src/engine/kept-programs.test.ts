// Programs that are kept: equal ones once, held ones never closed, idle ones closed when others were held since.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Program } from "../runtime/mod.ts";
import { KeptPrograms } from "./kept-programs.ts";

/** Programs by name that say when they were opened and closed. */
function opener() {
  const log: string[] = [];
  const compile = (name: string, failure?: Error) => async (): Promise<Program> => {
    log.push(`open ${name}`);
    return {
      name,
      [Symbol.asyncDispose]: async () => {
        log.push(`close ${name}`);
        if (failure) throw failure;
      },
    } as unknown as Program;
  };
  return { log, compile };
}

test("equal ones are opened once, and close when nobody holds them and others were held since", async () => {
  const { log, compile } = opener();
  await using kept = new KeptPrograms(1);
  const [a, same] = await Promise.all([kept.hold("a", compile("a")), kept.hold("a", compile("a"))]);
  assert.equal(a.program, same.program);
  a[Symbol.dispose]();
  a[Symbol.dispose](); // letting go twice is letting go once
  (await kept.hold("b", compile("b")))[Symbol.dispose]();
  (await kept.hold("c", compile("c")))[Symbol.dispose]();
  await new Promise(setImmediate);
  assert.deepEqual(log, ["open a", "open b", "open c", "close b"]);
  same[Symbol.dispose]();
  await new Promise(setImmediate);
  assert.deepEqual(log.slice(4).length, 1, "one of the two idle ones is closed");
});

test("a failure to open is its askers' and forgotten", async () => {
  const { compile } = opener();
  await using kept = new KeptPrograms(1);
  await assert.rejects(
    kept.hold("a", () => Promise.reject(new Error("no"))),
    /no/,
  );
  using held = await kept.hold("a", compile("a"));
  assert.equal(held.program.name, "a");
});

test("a failure to close is told at the end, and nothing is opened after it", async () => {
  const { compile } = opener();
  const kept = new KeptPrograms(0);
  (await kept.hold("a", compile("a", new Error("it stuck"))))[Symbol.dispose]();
  await new Promise(setImmediate);
  await assert.rejects(async () => kept[Symbol.asyncDispose](), /it stuck/);
  await assert.rejects(kept.hold("b", compile("b")), /the model was closed/);
});
