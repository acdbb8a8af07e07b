export { NOT_WANTED, unlessAborted } from "./abort.ts";
export { cancelled, type ErrorCode, type ErrorParts, IroriError } from "./errors.ts";
export { type FlightOptions, Flights, type FlightWork } from "./flights.ts";
export { bfloat16ToNumber, float16Table, float16ToNumber } from "./half.ts";
export { nearest } from "./nearest.ts";
export { PauseController } from "./pause.ts";
export type { OnProgress, ProgressEvent } from "./progress.ts";
export { type Random, seededRandom } from "./random.ts";
export { runAhead } from "./run-ahead.ts";
