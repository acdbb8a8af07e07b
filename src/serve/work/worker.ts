// The thread that owns a WorkFile: its methods by name, one after another. It does not know who asks.
import { parentPort, workerData } from "node:worker_threads";
import { toWire } from "../wire.ts";
import { WorkFile } from "./work-file.ts";

const port = parentPort as NonNullable<typeof parentPort>;

function answering(id: number, work: () => unknown): void {
  try {
    port.postMessage({ id, value: work() });
  } catch (error) {
    port.postMessage({ id, error: toWire(error) });
  }
}

let file: WorkFile | undefined;
answering(0, () => {
  file = new WorkFile((workerData as { path: string }).path);
});
if (file === undefined) port.close();
else serve(file);

function serve(open: WorkFile): void {
  port.on("message", ({ id, method, args }: { id: number; method: keyof WorkFile; args: readonly unknown[] }) => {
    answering(id, () => (open[method] as (...all: unknown[]) => unknown).apply(open, [...args]));
    if (method === "close") port.close();
  });
}
