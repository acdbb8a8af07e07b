// Who answers or embeds, by name: a model of this machine, a server, or what stands in for one.
// It does not know how any of them works.
import { IroriError } from "../base/mod.ts";
import { count, isRecord, jsonIn, list, type Rule, refuse, text } from "./rules.ts";
import { setting, type Table, unknownName, type ValuesOf } from "./setting.ts";

const serverTable = {
  url: setting(text, "Where its API begins: http://127.0.0.1:8080/v1"),
  model: setting(text, "The model's name there"),
} satisfies Table;

const moreTable = {
  keyVariable: setting(text, "The environment variable that holds its key: the key itself stands in no file"),
  deadlineMs: setting(count(), "Milliseconds that a whole answer may take, all its attempts together"),
  idleMs: setting(count(), "Milliseconds that it may send nothing"),
  retries: setting(count(0, 20), "Further attempts where it was busy or not there"),
} satisfies Table;

const mockTable = { answers: setting(list(text), "What a mock answers, one after the other") } satisfies Table;

/** A server that speaks OpenAI's API. */
export type ServerSettings = ValuesOf<typeof serverTable> & Partial<ValuesOf<typeof moreTable>>;
/** Given answers, one after the other. */
export type ScriptSettings = ValuesOf<typeof mockTable>;
export type ProviderSettings = ServerSettings | ScriptSettings;

export type Provider =
  | { readonly kind: "local"; readonly model: string }
  | ({ readonly kind: "server" } & ServerSettings)
  /** `answers` undefined: the prompt itself. */
  | { readonly kind: "mock"; readonly answers?: readonly string[] | undefined }
  | { readonly kind: "hashed" };

/** What `mock` says where nobody gave it a script. */
const MOCK_ANSWERS = ["This is a mock answer: no model was asked."];

/** Providers by the names that a user gives them. */
export const providersRule: Rule<Readonly<Record<string, ProviderSettings>>> = {
  wanted: "names, each with { url, model } of a server or { answers } of a mock",
  parse: (value, what) => {
    if (!isRecord(value)) return refuse(what, value, providersRule.wanted);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, providerOf(each, `${what}.${name}`)]));
  },
  read: jsonIn,
};

function providerOf(value: unknown, what: string): ProviderSettings {
  if (!isRecord(value)) return refuse(what, value, providersRule.wanted);
  const isMock = Object.hasOwn(value, "answers");
  const needed: Table = isMock ? mockTable : serverTable;
  const known: Table = isMock ? mockTable : { ...serverTable, ...moreTable };
  for (const key of Object.keys(value))
    if (!Object.hasOwn(known, key)) throw unknownName(`${what}: a setting`, key, Object.keys(known));
  const parsed = Object.entries(known)
    .filter(([key]) => Object.hasOwn(value, key) || Object.hasOwn(needed, key))
    .map(([key, { rule }]) => [key, rule.parse(value[key], `${what}.${key}`)]);
  const provider = Object.fromEntries(parsed) as ProviderSettings;
  if ("url" in provider && !isHttp(provider.url))
    refuse(`${what}.url`, provider.url, "an address that begins with http:// or https://");
  if ("answers" in provider && provider.answers.length === 0) refuse(`${what}.answers`, [], "one answer or more");
  return provider;
}

const isHttp = (name: string): boolean => /^https?:\/\/./.test(name) && URL.canParse(name);

/**
 * Who a name means: `mock`, `mock:echo`, `hashed`, `http://HOST/v1#MODEL`, a name among `providers`, or else a model of this
 * machine. Throws "bad-input" for an address without a model.
 */
export function providerNamed(name: string, providers: Readonly<Record<string, ProviderSettings>> = {}): Provider {
  const own = Object.hasOwn(providers, name) ? providers[name] : undefined;
  if (own !== undefined) return "answers" in own ? { kind: "mock", ...own } : { kind: "server", ...own };
  if (name === "mock") return { kind: "mock", answers: MOCK_ANSWERS };
  if (name === "mock:echo") return { kind: "mock" };
  if (name.startsWith("mock:")) throw unknownName("a mock", name, ["mock", "mock:echo"]);
  if (name === "hashed") return { kind: "hashed" };
  if (!/^https?:/.test(name)) return { kind: "local", model: name };
  const [url = "", model = ""] = name.split("#", 2);
  if (!isHttp(url) || model === "")
    throw new IroriError("bad-input", { what: "a server", got: name, wanted: "http://HOST:PORT/v1#MODEL" });
  return { kind: "server", url, model: decodeURIComponent(model) };
}
