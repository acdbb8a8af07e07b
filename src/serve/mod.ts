// Public names of serve/: what programs and people reach over a wire.

export { memoryServer } from "./mcp/memory-tools.ts";
export { type McpListener, serveMcpOverHttp, serveMcpOverStdio } from "./mcp/transports.ts";
