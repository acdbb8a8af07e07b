// Servers that take batch work off this machine, by names of one's own. It does not know how they are asked.
import { fieldsOf, named } from "./named.ts";
import { address, count, isRecord, jsonIn, type Rule, refuse, text } from "./rules.ts";
import { setting, type Table, type ValuesOf } from "./setting.ts";

/** Names of models here, and what the same are called there. */
const modelsRule: Rule<Readonly<Record<string, string>>> = {
  wanted: 'names of models here with their names there: { "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct" }',
  parse: (value, what) => {
    if (!isRecord(value) || Object.keys(value).length === 0) return refuse(what, value, modelsRule.wanted);
    return Object.fromEntries(
      Object.entries(value).map(([here, there]) => [here, text.parse(there, `${what}.${here}`)]),
    );
  },
  read: jsonIn,
};

const needed = {
  url: setting(address, "Where its API begins: http://10.0.0.2:8000/v1"),
  models: setting(modelsRule, "Which models it has"),
} satisfies Table;
const more = {
  inFlight: setting(count(1, 1024), "Requests there at once at most (default 4)"),
  keyVariable: setting(text, "The environment variable that holds its key"),
  deadlineMs: setting(count(), "Milliseconds that a whole answer may take"),
  idleMs: setting(count(), "Milliseconds that it may send nothing"),
} satisfies Table;

export type RemoteSettings = ValuesOf<typeof needed> & Partial<ValuesOf<typeof more>>;

export const remotesRule = named<RemoteSettings>("names, each with { url, models }", (value, what) =>
  fieldsOf(value, what, needed, more),
);
