// The demo's last part: the same model behind HTTP, asked by OpenAI's own client, and shut down in order.
// It does not know how serving works.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { print } from "../src/cli/output.ts";

const bin = fileURLToPath(new URL("../bin/irori.js", import.meta.url));

/** Starts `irori serve`, asks it, and ends it. Throws where anything of that fails. */
export async function demoServer(model: string, question: string, signal: AbortSignal): Promise<void> {
  const args = [bin, "serve", model, "--port", "0", "--slots", "2", "--json", "--log", "error"];
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], signal, killSignal: "SIGTERM" });
  const gone = once(server, "exit");
  const failed = gone.then(([code]) => {
    throw new Error(`irori serve ended with code ${code}`);
  });
  failed.catch(() => undefined); // told below, or it is the end that is wanted
  const [line] = (await Promise.race([once(server.stdout, "data"), failed])) as [Buffer];
  const { url } = JSON.parse(line.toString()) as { readonly url: string };
  print(`\nserved at ${url}: OpenAI's client asks\n\n> ${question}\n\n`);
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const messages = [{ role: "user" as const, content: question }];
  const start = performance.now();
  const stream = await client.chat.completions.create(
    { model, messages, stream: true, max_tokens: 40, temperature: 0 },
    { signal },
  );
  let firstMs = 0;
  for await (const { choices } of stream) {
    const text = choices[0]?.delta.content ?? "";
    if (text !== "") firstMs ||= performance.now() - start;
    print(text);
  }
  server.kill("SIGTERM");
  const [code] = await gone;
  if (code !== 0) throw new Error(`irori serve was to end with 0 and ended with ${code}`);
  print(`\n\nfirst token ${firstMs.toFixed(0)} ms after the question, over HTTP; stopped in order, exit 0\n`);
}
