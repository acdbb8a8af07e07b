// A server of the real model on a free port, for tests of clients. It does not know what is tested with it.

import { Engine } from "../../src/engine/mod.ts";
import { EngineHost, type RunningServer, type ServerOptions, startServer } from "../../src/serve/mod.ts";
import { smollm2 } from "./smollm2.ts";

export async function smollm2Server(options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const { home } = await smollm2();
  const engine = await Engine.open({
    ...{ home, threads: 2, spinning: false, budgetBytes: () => 8e9, now: () => performance.now(), isOffline: true },
  });
  const host = new EngineHost({ engine, rows: 2, freeBytes: () => 8e9, privateBytes: () => 0 });
  return startServer({ host, models: ["smollm2-135m"], port: 0, version: "0", lanes: { slots: 4 }, ...options });
}
