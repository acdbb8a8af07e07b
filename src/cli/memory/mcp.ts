// `irori memory mcp`: the memory for any MCP client, over stdio or, with --port, over HTTP on this machine.
// It does not know tools.
import { createRequire } from "node:module";
import { memoryServer, serveMcpOverHttp, serveMcpOverStdio } from "../../serve/mod.ts";
import type { Command } from "../command.ts";
import { listenForStop, say } from "../output.ts";
import { memoryArgs, openMemory } from "./open.ts";

export const mcp: Command = {
  args: {
    ...memoryArgs,
    port: {
      type: "string",
      valueHint: "N",
      description: "Serve HTTP on 127.0.0.1 instead of stdio; 0 takes any free port",
    },
  },
  async run(call) {
    using stop = listenForStop();
    const { signal } = stop;
    process.once("SIGTERM", () => process.emit("SIGINT"));
    const port = call.args.number("port", { isWhole: true, min: 0, max: 65_535 });
    const { version } = createRequire(import.meta.url)("../../../package.json") as { version: string };
    await using open = await openMemory(call);
    if (port === undefined) {
      await serveMcpOverStdio(memoryServer(open.memory, version), signal);
      return undefined;
    }
    await using listener = await serveMcpOverHttp(() => memoryServer(open.memory, version), port);
    say(`the memory ${open.store.info.place} is served at ${listener.url}; Ctrl-C ends it`);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    return undefined;
  },
};
