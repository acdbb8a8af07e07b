// What a header of any format says: metadata, and where each tensor lies.
// It does not know how the header was written.

import type { MetadataValue } from "./gguf-metadata.ts";

export interface TensorInfo {
  readonly name: string;
  /** A name in `blockTypes`: GGUF's spelling, for both formats. */
  readonly type: string;
  /** Outermost first: [rows, columns]. (GGUF's own order is the reverse.) */
  readonly shape: readonly number[];
  readonly file: string;
  /** From the file's first byte. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface Header {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}
