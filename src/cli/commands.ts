// The commands by name. Each is loaded when it is called: `irori --help` loads none of them.
import type { Command } from "./command.ts";

export interface Entry {
  readonly usage: string;
  readonly description: string;
  /** The command, or the commands below it. */
  readonly load: () => Promise<Command | Verbs>;
}

/** Commands of a command, by the word behind its name. */
export interface Verbs {
  readonly verbs: Readonly<Record<string, Entry>>;
}

export const commands: Readonly<Record<string, Entry>> = {
  run: {
    usage: "run MODEL [PROMPT]",
    description: "Answer a prompt, or chat where none is given",
    load: async () => (await import("./run.ts")).run,
  },
  serve: {
    usage: "serve [MODEL…]",
    description: "Keep models warm behind HTTP, for OpenAI's and Ollama's clients",
    load: async () => (await import("./serve.ts")).serve,
  },
  summarize: {
    usage: "summarize FILE|URL|-",
    description: "Summarise texts of any length and account for every byte; goes on where it was stopped",
    load: async () => (await import("./summarize.ts")).summarize,
  },
  ps: {
    usage: "ps",
    description: "Tell what a running server holds open, runs and lets wait",
    load: async () => (await import("./ps.ts")).ps,
  },
  top: {
    usage: "top",
    description: "Show live what a running server does: lanes, slots, queue, tokens a second, loads, memory",
    load: async () => (await import("./top.ts")).top,
  },
  stop: {
    usage: "stop",
    description: "End the running server of this store in order",
    load: async () => (await import("./stop.ts")).stop,
  },
  pull: {
    usage: "pull MODEL",
    description: "Fetch a model and prepare it, so that it opens at once",
    load: async () => (await import("./pull.ts")).pull,
  },
  setup: {
    usage: "setup [PRESET]",
    description: "Fetch and prepare all models that a preset needs; --dry-run tells which",
    load: async () => (await import("./setup.ts")).setup,
  },
  ls: {
    usage: "ls",
    description: "List the models of the store",
    load: async () => (await import("./ls.ts")).ls,
  },
  show: {
    usage: "show MODEL",
    description: "Tell what a model is, how it is stored and what memory it needs",
    load: async () => (await import("./show.ts")).show,
  },
  alias: {
    usage: "alias NAME --from MODEL",
    description: "Give a model another name, with a system prompt and ways of answering",
    load: async () => (await import("./alias.ts")).alias,
  },
  rm: {
    usage: "rm MODEL",
    description: "Remove a model and free its bytes, or an alias",
    load: async () => (await import("./rm.ts")).rm,
  },
  prune: {
    usage: "prune",
    description: "Free what nobody needs; with --keep, models too",
    load: async () => (await import("./prune.ts")).prune,
  },
  verify: {
    usage: "verify [MODEL]",
    description: "Compare every hash of a model and its prepared forms",
    load: async () => (await import("./verify.ts")).verify,
  },
  export: {
    usage: "export MODEL --out F",
    description: "Write a model and its prepared forms into one file",
    load: async () => (await import("./export.ts")).exportModel,
  },
  import: {
    usage: "import F",
    description: "Bring in a model that `export` wrote; needs no network",
    load: async () => (await import("./import.ts")).importFile,
  },
  tokenize: {
    usage: "tokenize MODEL [TEXT]",
    description: "Turn a text into token ids, or ids into text (--decode)",
    load: async () => (await import("./tokenize.ts")).tokenize,
  },
  score: {
    usage: "score MODEL --file F",
    description: "Tell how likely a model finds a text, or continuations of a prompt",
    load: async () => (await import("./score.ts")).score,
  },
  embed: {
    usage: "embed MODEL TEXT…",
    description: "Turn texts into vectors",
    load: async () => (await import("./embed.ts")).embed,
  },
  batch: {
    usage: "batch MODEL --input F --out F",
    description: "Answer every line of a file; goes on where it was stopped",
    load: async () => (await import("./batch.ts")).batch,
  },
  trace: {
    usage: "trace MODEL --input F --out F",
    description: "Run token ids with the inside open: captures, interventions, gradients",
    load: async () => (await import("./trace.ts")).trace,
  },
  train: {
    usage: "train lora MODEL --data F --out FOLDER",
    description: "Fit a low-rank adapter to texts",
    load: async () => (await import("./train.ts")).train,
  },
  memory: {
    usage: "memory add|ask|recall|…",
    description: "Remember, answer with citations, notice (`irori memory --help` lists its commands)",
    load: async () => ({ verbs: (await import("./memory/verbs.ts")).verbs }),
  },
  settings: {
    usage: "settings [get|set|unset|presets]",
    description: "Tell the settings in force and where each came from, or change the file",
    load: async () => (await import("./settings-command.ts")).settings,
  },
  bench: {
    usage: "bench MODEL",
    description: "Measure speed and memory on this machine (in a checkout)",
    load: async () => (await import("./bench.ts")).bench,
  },
  doctor: {
    usage: "doctor",
    description: "Tell what of Irori works on this machine, and why the rest does not",
    load: async () => (await import("./doctor.ts")).doctor,
  },
};
