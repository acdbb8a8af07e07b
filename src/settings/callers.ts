// Who may call a server, by name, and what each may do there. It does not know requests.
import { fieldsOf, named } from "./named.ts";
import { choice, count, list, text } from "./rules.ts";
import { setting, type Table, type ValuesOf } from "./setting.ts";

const needed = {
  keyVariable: setting(text, "The environment variable that holds its key: the key itself stands in no file"),
} satisfies Table;
const more = {
  lanes: setting(
    list(choice(["interactive", "batch"]), "one lane or both"),
    "Lanes that it may use, the first where it does not say",
  ),
  namespaces: setting(list(text), "Namespaces of the memory that it may use"),
  perMinute: setting(count(), "Requests in a minute at most"),
} satisfies Table;

export type CallerSettings = ValuesOf<typeof needed> & Partial<ValuesOf<typeof more>>;

export const callersRule = named<CallerSettings>("names, each with { keyVariable }", (value, what) =>
  fieldsOf(value, what, needed, more),
);
