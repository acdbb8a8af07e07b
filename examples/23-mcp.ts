// One memory, three processes at once: an MCP client over stdio, another over HTTP, and this program on the same file.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { openMemory } from "irori";

const folder = mkdtempSync(join(tmpdir(), "irori-mcp-"));
const store = join(folder, "memory.db");
const irori = fileURLToPath(new URL("../bin/irori.js", import.meta.url));
const command = [irori, "memory", "mcp", "--store", store];
const about = { name: "example", version: "1" };

const overStdio = new Client(about);
await overStdio.connect(new StdioClientTransport({ command: process.execPath, args: command, stderr: "ignore" }));
console.log((await overStdio.listTools()).tools.map(({ name }) => name).join(", "));

const server = spawn(process.execPath, [...command, "--port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
const url = await new Promise<string>((resolve) => {
  server.stderr.on("data", (said) => {
    const found = /http:\S+\/mcp/.exec(String(said));
    if (found !== null) resolve(found[0]);
  });
});
const overHttp = new Client(about);
await overHttp.connect(new StreamableHTTPClientTransport(new URL(url)));

type Told = { readonly structuredContent?: { readonly text?: string } };
await overStdio.callTool({ name: "remember", arguments: { text: "The spare key hangs behind the clock." } });
const answer = (await overHttp.callTool({
  name: "ask",
  arguments: { question: "Where does the spare key hang?" },
})) as Told;
console.log(answer.structuredContent?.text);
{
  await using memory = await openMemory({ file: store });
  await memory.remember("The clock stops at noon.");
  const { contents } = await overHttp.readResource({ uri: "memory://episodes" });
  console.log(
    `${(await memory.stats()).episodes} episodes, ${JSON.stringify(contents).includes("noon") ? "seen" : "not seen"} by the client`,
  );
}
await overStdio.close();
await overHttp.close();
server.kill();
rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
