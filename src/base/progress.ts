// Progress of long work as plain data: who shows it, and how, is not known here.

export interface ProgressEvent {
  /** What is going on: "download", "verify", "prepare", "pack" … */
  readonly step: string;
  /** Which thing: a file or tensor name. */
  readonly item?: string;
  /** Work done and in all, in `unit`; `total` is absent where it is not known. */
  readonly done: number;
  readonly total?: number;
  readonly unit: "bytes" | "tensors" | "steps" | "texts" | "prompts";
}

export type OnProgress = (event: ProgressEvent) => void;
