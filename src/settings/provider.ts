// Who answers or embeds, by name: a model of this machine, a server, or what stands in for one.
// It does not know how any of them works.
import { IroriError } from "../base/mod.ts";
import { fieldsOf, named } from "./named.ts";
import { address, count, isAddress, list, text } from "./rules.ts";
import { setting, type Table, unknownName, type ValuesOf } from "./setting.ts";

const serverTable = {
  url: setting(address, "Where its API begins: http://127.0.0.1:8080/v1"),
  model: setting(text, "The model's name there"),
} satisfies Table;

const moreTable = {
  keyVariable: setting(text, "The environment variable that holds its key: the key itself stands in no file"),
  deadlineMs: setting(count(), "Milliseconds that a whole answer may take, all its attempts together"),
  idleMs: setting(count(), "Milliseconds that it may send nothing"),
  retries: setting(count(0, 20), "Further attempts where it was busy or not there"),
} satisfies Table;

const mockTable = {
  answers: setting(list(text, "one answer or more"), "What a mock answers, one after the other"),
} satisfies Table;

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
export const providersRule = named<ProviderSettings>(
  "names, each with { url, model } of a server or { answers } of a mock",
  (value, what) =>
    Object.hasOwn(value, "answers")
      ? fieldsOf(value, what, mockTable, {})
      : fieldsOf(value, what, serverTable, moreTable),
);

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
  if (!isAddress(url) || model === "")
    throw new IroriError("bad-input", { what: "a server", got: name, wanted: "http://HOST:PORT/v1#MODEL" });
  return { kind: "server", url, model: decodeURIComponent(model) };
}
