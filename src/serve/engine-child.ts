// The engine's process: an EngineHost behind messages. It ends when the server that started it does.
// It does not know HTTP or lanes. Started by process-host.ts, its setting is the first argument.
import { PauseController } from "../base/mod.ts";
import { freeBytes, openEngine, privateBytes } from "../machine.ts";
import { EngineHost } from "./engine-host.ts";
import type { HostRequest } from "./host.ts";
import { type EngineSetting, type FromEngine, type ToEngine, toWire } from "./wire.ts";

type Settings = NonNullable<Parameters<typeof openEngine>[0]>["settings"];
const { settings, ...setting } = JSON.parse(process.argv[2] as string) as EngineSetting;
const engine = await openEngine(settings === undefined ? {} : { settings: settings as NonNullable<Settings> });
const host = new EngineHost({ engine, freeBytes, privateBytes, ...setting });

interface Running {
  readonly stop: AbortController;
  readonly pause: PauseController;
}
const running = new Map<number, Running>();

const send = (message: FromEngine): void => {
  if (process.connected) process.send?.(message);
};

async function run({ id, operation, args }: Extract<ToEngine, { readonly type: "call" }>): Promise<void> {
  const stop = new AbortController();
  const pause = new PauseController();
  running.set(id, { stop, pause });
  const { signal } = stop;
  const onProgress = (event: Extract<FromEngine, { type: "progress" }>["event"]) =>
    send({ type: "progress", id, event });
  try {
    if (operation === "generate") {
      const [model, request] = args as [string, HostRequest];
      for await (const event of host.generate(model, request, { signal, pause })) send({ type: "event", id, event });
      send({ type: "value", id, value: undefined });
      return;
    }
    const takesOptions =
      operation === "measure" || operation === "load" || operation === "pull" || operation === "embed";
    const [options = {}] = takesOptions ? args.slice(operation === "embed" ? 2 : 1) : [];
    const given = takesOptions
      ? [...args.slice(0, operation === "embed" ? 2 : 1), { ...(options as object), signal, onProgress }]
      : [...args];
    const value = await (host[operation] as (...all: unknown[]) => Promise<unknown>).apply(host, given);
    send({ type: "value", id, value });
  } catch (error) {
    send({ type: "error", id, error: toWire(error) });
  } finally {
    running.delete(id);
  }
}

process.on("message", (message: ToEngine) => {
  if (message.type === "call") void run(message);
  else if (message.type === "abort") running.get(message.id)?.stop.abort();
  else if (message.type === "pause") running.get(message.id)?.pause.pause();
  else running.get(message.id)?.pause.resume();
});
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole group of a terminal; the server decides
process.on("SIGINT", () => undefined);
process.send?.({ type: "ready" });
