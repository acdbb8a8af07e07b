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
  "06-attribution.ts":
    /Rome over Paris: -\d[\s\S]*270 heads in two runs\nblocks\.23\.attn\.hook_z head 4: attributed [1-9][\d.]+, patched 1[\d.]+/,
  "07-custom-op.ts": /relu\(input "x"\)[\s\S]*output "grad\.x"[\s\S]*bytes of ONNX\nan op's name: got relu/,
  "08-custom-family.ts":
    /HookPoints: hook_embed[\s\S]*looks at itself by 0\.\d+[\s\S]*with a head ablated[\s\S]*goes on with \d+, \d+/,
  "09-afternoon.ts":
    /layer 23 head 4 moves Rome over Paris by 1\d[\s\S]*steered by 0: .*city of Paris[\s\S]*steered by 1: .*city of Rome[\s\S]*step 10 of 10: loss [01]\.[\s\S]*before:(?!.*hearth)[\s\S]*after: A hearth that is/,
  "10-batch.ts": /a hearth: \w[\s\S]*rain: \w[\s\S]*alone the first is the same/,
  "11-embed.ts": /0\.[5-9]\d+ {2}The fire in the hearth[\s\S]*5 vectors of 384 numbers, 0 texts were too long/,
  "12-save-a-chat.ts": /(\d+) tokens saved, \d\.\d MB[\s\S]*\n\1 of \d+ tokens were not read again: \w/,
  "13-choices.ts": /ln p -0\.\d+ Tokyo[\s\S]*beam -0\.\d+ " Tokyo[\s\S]*the likeliest of 4, with seed [1-4]/,
  "15-mock.ts":
    /The hearth stood in the middle of the house\.\nいろりは.*\nThe hearth stood in the middle \[1\]\. \(7 words, stop\)/,
  "16-server.ts": /The fire never goes out\.\nasked 2 times, stopped by stop/,
  "20-remember.ts":
    /again: repeat\n[\s\S]*middle room\. \[1\]\n {2}\[1\] [\s\S]*消えない。 \[1\][\s\S]*nothing that I remember answers this[\s\S]*no sources\n0\.\d\d Aki plays/,
  "21-a-week.ts":
    /Monday: 26 notes\nagain: 0 new\nTuesday: (Kenji mixes ash into the glaze of the bowls\.) \[1\]\n.*there: \1\nWednesday: .*Sunday\. \[1\]\n.*Saturday\. \[1\]\n.*Saturday\. → .*Sunday\.\nThursday: an insight, F -\d.*bit-equal: true\n[\s\S]*Friday: .* in \d steps[\s\S]*Saturday: 5 episodes about Kenji forgotten;(?!.*Kenji)[\s\S]*Sunday: files that hold the name: none/,
  "22-a-memory-with-models.ts": /0\.\d+ The cat sleeps[\s\S]*smollm2-135m: .*nine/,
  "23-mcp.ts":
    /^remember, recall, ask, forget, why, stats\nThe spare key hangs behind the clock\. \[1\]\n2 episodes, seen by the client/,
  "40-serve.ts": /hearth[\s\S]*\n40 tokens in the lane batch/,
};

test("every example has its expectation here", async () => {
  const all = await readdir(folder);
  assert.deepEqual(all.filter((name) => name.endsWith(".ts")).sort(), Object.keys(prints).sort());
});
for (const [name, expected] of Object.entries(prints))
  test(`examples/${name} runs`, async () => {
    const { home } = await smollm2();
    const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=irori-source", folder + name], {
      env: { ...process.env, IRORI_HOME: home },
    });
    assert.match(stdout, expected);
  });
