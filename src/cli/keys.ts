// Keys that callers of a server send: of the command line, the environment and the settings. It does not know what they open.
import { IroriError } from "../base/mod.ts";
import type { Key } from "../serve/mod.ts";
import type { CallerSettings } from "../settings/mod.ts";

interface Given {
  /** `--key`, as often as it is given. */
  readonly texts: readonly string[];
  readonly callers: Readonly<Record<string, CallerSettings>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Every key there is. Throws "bad-input" for one that is too short or missing, and where two callers have one name. */
export function keysOf({ texts, callers, environment }: Given): Key[] {
  const listed = (environment.IRORI_KEYS ?? "").split(",").filter((text) => text !== "");
  const keys = [
    ...[...listed, ...texts].map(keyIn),
    ...Object.entries(callers).map(([name, { keyVariable, ...may }]) => {
      const key = environment[keyVariable] ?? "";
      if (key.length < SHORTEST) throw noKey(`the key of ${name}`, `none of ${SHORTEST} characters in ${keyVariable}`);
      return { name, key, ...may };
    }),
  ];
  const twice = keys.find(({ name }, i) => keys.findIndex((key) => key.name === name) < i);
  if (twice) throw noKey("keys", `two of ${twice.name}`, "one for each name");
  return keys;
}

const SHORTEST = 8;

/** `NAME=KEY`, and where a key may use one lane only, `NAME:batch=KEY`. */
function keyIn(text: string): Key {
  const found = /^([\w.-]+)(?::(interactive|batch))?=(.*)$/.exec(text);
  const [, name = "", lane, key = ""] = found ?? [];
  if (key.length < SHORTEST)
    throw noKey(
      "a key (--key, IRORI_KEYS)",
      "something else",
      `NAME=KEY or NAME:LANE=KEY, the key of ${SHORTEST} characters or more`,
    );
  return { name, key, ...(lane !== undefined && { lanes: [lane as "interactive" | "batch"] }) };
}

const noKey = (what: string, got: string, wanted?: string): IroriError =>
  new IroriError("bad-input", { what, got, wanted });
