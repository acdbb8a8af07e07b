// Every example of examples/ runs and prints what its first lines promise.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { smollm2 } from "./setup/smollm2.ts";

const folder = fileURLToPath(new URL("../examples/", import.meta.url));
const prints: Readonly<Record<string, RegExp>> = {
  "01-ask.ts": /hearth[\s\S]*\n\d+ tokens, stopped by (stop|length)/i,
  "02-likelihood.ts": /(\d\.\d+) nats a token.*Paris[\s\S]*nats a token.*Berlin/,
  "03-graph.ts": /output "grad\.x" = %\d+[\s\S]*hash [0-9a-f]{16}, \d+ bytes of ONNX/,
  "05-lora.ts":
    /step 1 of 10: loss [1-9][\s\S]*step 10 of 10: loss 0[\s\S]*as it was:(?!.*never goes)[\s\S]*adapted: The fire never goes out/,
  "04-patching.ts":
    /France: -\d[\s\S]*at layer 0: -\d[\s\S]*at layer 25: \d[\s\S]*strength 0: .* is Paris[\s\S]*strength 1: .* is Rome/,
};

test("every example has its expectation here", async () => {
  assert.deepEqual((await readdir(folder)).sort(), Object.keys(prints).sort());
});
for (const [name, expected] of Object.entries(prints))
  test(`examples/${name} runs`, async () => {
    const { home } = await smollm2();
    const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=irori-source", folder + name], {
      env: { ...process.env, IRORI_HOME: home },
    });
    assert.match(stdout, expected);
  });
