// Names of what talks to a running server: apart from serve's own, so that a command that asks one does not load the server.
export { batchGenerator } from "./batch.ts";
export { Attached, type Found, serversOf } from "./client.ts";
export { announced, isProcess, type ServerRecord } from "./record.ts";
export { ServerError } from "./server-error.ts";
