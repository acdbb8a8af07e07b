// Public names of serve/: the server, its lanes and residents, the host that runs models for it, and the memory as an MCP server.

export { EngineHost, type EngineHostOptions } from "./engine-host.ts";
export type { Host, HostEvent, HostPrompt, HostRequest, ModelFacts } from "./host.ts";
export type { ServerStatus } from "./http/app.ts";
export type { Key } from "./http/door.ts";
export { kvBytes } from "./kv-plan.ts";
export { DEFAULT_LANES, type Effect, type Lane, type LaneOptions, LanePolicy } from "./lane-policy.ts";
export { memoryServer } from "./mcp/memory-tools.ts";
export { type McpListener, serveMcpOverHttp, serveMcpOverStdio } from "./mcp/transports.ts";
export { ProcessHost, type ProcessHostOptions } from "./process-host.ts";
export {
  type Budget,
  type HeldModel,
  NoRoomError,
  planResidency,
  type ResidencyItem,
  type ResidencyPlan,
  type ResidencyState,
  type Want,
} from "./residency.ts";
export {
  DEFAULT_LIMITS,
  DEFAULT_PORT,
  PLANNED_CONTEXT,
  RESERVE_BYTES,
  type RunningServer,
  type ServerLimits,
  type ServerOptions,
  startServer,
} from "./server.ts";
