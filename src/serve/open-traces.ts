// Traces, loaded when they are asked for: OpenTelemetry's packages take longer to load than a model to open.
// It does not know what is traced.
import type { TraceOptions } from "./traces.ts";
import type { Watcher } from "./watcher.ts";

export const openTraces = async (options: TraceOptions): Promise<Watcher> =>
  (await import("./traces.ts")).openTraces(options);
