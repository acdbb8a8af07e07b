// The commands of `irori memory` by name; each is loaded when it is called. It does not know what they do.
import type { Entry } from "../commands.ts";

export const verbs: Readonly<Record<string, Entry>> = {
  add: {
    usage: "add TEXT",
    description: "Remember a text (- reads it from stdin)",
    load: async () => (await import("./tell.ts")).add,
  },
  ask: {
    usage: "ask QUESTION",
    description: "Answer from what is remembered, with citations, or say that nothing answers",
    load: async () => (await import("./tell.ts")).ask,
  },
  recall: {
    usage: "recall QUERY",
    description: "Find episodes (--explain shows why each was found)",
    load: async () => (await import("./tell.ts")).recall,
  },
  insights: {
    usage: "insights",
    description: "List what restructured the memory, newest first",
    load: async () => (await import("./notice.ts")).insights,
  },
  why: {
    usage: "why ID",
    description: "Show the evidence of an insight, reckoned again",
    load: async () => (await import("./notice.ts")).why,
  },
  bridge: {
    usage: "bridge FROM TO",
    description: "Show the way between two ideas and its weakest link",
    load: async () => (await import("./notice.ts")).bridge,
  },
  discover: {
    usage: "discover",
    description: "List ideas that hold the memory together",
    load: async () => (await import("./notice.ts")).discover,
  },
  history: {
    usage: "history ID",
    description: "Show what an episode took the place of, and what took its place",
    load: async () => (await import("./change.ts")).history,
  },
  correct: {
    usage: "correct ID TEXT",
    description: "Put something right; what it was stays as history",
    load: async () => (await import("./change.ts")).correct,
  },
  forget: {
    usage: "forget [ID]",
    description: "Forget for good: an episode, a person, a source, a user",
    load: async () => (await import("./change.ts")).forget,
  },
  import: {
    usage: "import PATH",
    description: "Remember files: text, Markdown, HTML, PDF, JSONL, chats, folders, exports",
    load: async () => (await import("./carry.ts")).importFiles,
  },
  migrate: {
    usage: "migrate FOLDER",
    description: "Take over the data of InsightSpike",
    load: async () => (await import("./carry.ts")).migrateFolder,
  },
  export: {
    usage: "export FOLDER",
    description: "Write a memory as JSON lines and safetensors",
    load: async () => (await import("./carry.ts")).exportFolder,
  },
  backup: {
    usage: "backup FILE",
    description: "Copy the store while it is in use, and look at the copy",
    load: async () => (await import("./carry.ts")).backup,
  },
  stats: {
    usage: "stats",
    description: "Tell how much is remembered",
    load: async () => (await import("./look.ts")).stats,
  },
  doctor: {
    usage: "doctor",
    description: "Check everything that must hold; --repair makes indexes anew",
    load: async () => (await import("./look.ts")).doctor,
  },
  maintain: {
    usage: "maintain",
    description: "Link bulk imports, end what has expired, keep the index tidy",
    load: async () => (await import("./look.ts")).maintain,
  },
  reindex: {
    usage: "reindex --embedder NAME",
    description: "Give the store another embedder; goes on where it stopped",
    load: async () => (await import("./look.ts")).reindexStore,
  },
  eval: {
    usage: "eval NAME",
    description: "Run an experiment: honesty, exp23, english, bilingual, conversations",
    load: async () => (await import("./evaluate.ts")).evaluate,
  },
  mcp: {
    usage: "mcp",
    description: "Serve the memory to any MCP client, over stdio or HTTP",
    load: async () => (await import("./mcp.ts")).mcp,
  },
};
