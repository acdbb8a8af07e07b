// Public names of serve/: the server, its lanes and residents, the host that runs models for it, and the memory as an MCP server.

export type { ServerOptions } from "./assembly.ts";
export { announce } from "./attach/record.ts";
export { EngineHost, type EngineHostOptions } from "./engine-host.ts";
export type { Host, HostEvent, HostPrompt, HostRequest, ModelFacts } from "./host.ts";
export type { ServerStatus } from "./http/app.ts";
export type { Key } from "./http/door.ts";
export { kvBytes } from "./kv-plan.ts";
export { DEFAULT_LANES, type Effect, type Lane, type LaneOptions, LanePolicy } from "./lane-policy.ts";
export { DEFAULT_LIMITS, type ServerLimits } from "./limits.ts";
export { openSummarizer, type SummarizerOptions } from "./local.ts";
export { LOG_LEVELS, type Log, type LogLevel, openLog } from "./logs.ts";
export { memoryServer } from "./mcp/memory-tools.ts";
export { type McpListener, serveMcpOverHttp, serveMcpOverStdio } from "./mcp/transports.ts";
export type { MemoryPlace } from "./memories.ts";
export { MOCK_MODELS, MockHost } from "./mock-host.ts";
export { remotesOf } from "./open-remotes.ts";
export { openTraces } from "./open-traces.ts";
export { ProcessHost } from "./process-host.ts";
export {
  type Budget,
  type HeldModel,
  NoRoomError,
  PLANNED_CONTEXT,
  planResidency,
  RESERVE_BYTES,
  type ResidencyItem,
  type ResidencyPlan,
  type ResidencyState,
  type Want,
} from "./residency.ts";
export { DEFAULT_PORT, type RunningServer, startServer } from "./server.ts";
export type { Kept, SummaryWriter } from "./summaries/asking.ts";
export { fetchText } from "./summaries/fetch-text.ts";
export { type Summary, type SummaryReport, summaryText } from "./summaries/report.ts";
export { type SummarizeOptions, summarize } from "./summaries/summarize.ts";
export { type Summaries, summarizeMany } from "./summaries/summarize-many.ts";
export type { Watcher } from "./watcher.ts";
