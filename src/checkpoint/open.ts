// Opening a checkpoint: the readers load when one is opened, so that a prepared model opens without them.
import type { Checkpoint } from "./checkpoint.ts";

/** Opens a .gguf or .safetensors file, or a folder in the Hugging Face layout. Errors: not-found, bad-file, unsupported. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const { openFiles } = await import("./checkpoint.ts");
  return openFiles(path);
}
