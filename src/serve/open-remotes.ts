// Other servers as the settings name them: vLLM, SGLang, llama-server, Ollama, another Irori, whatever speaks OpenAI's API.
// It does not know who gets which request.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { serverGenerator } from "../engine/mod.ts";
import type { RemoteSettings } from "../settings/mod.ts";
import type { RemoteOptions } from "./remotes.ts";

const IN_FLIGHT = 4;
const modelsSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/** @param keyIn the key in an environment variable. Throws "bad-input" where there is none. */
export function remotesOf(
  settings: Readonly<Record<string, RemoteSettings>>,
  keyIn: (variable: string) => string | undefined,
): RemoteOptions[] {
  return Object.entries(settings).map(([name, { url: given, models, inFlight = IN_FLIGHT, keyVariable, ...times }]) => {
    const url = given.replace(/\/+$/, "");
    const key = keyVariable === undefined ? undefined : keyIn(keyVariable);
    if (keyVariable !== undefined && !key)
      throw new IroriError("bad-input", {
        what: `the key of the remote ${name}`,
        got: `no ${keyVariable} in the environment`,
      });
    // one attempt: a failure is another server's or this machine's work, not a wait
    const asked = { url, ...(key && { key }), retries: 0, ...times };
    const generators = Object.entries(models).map(
      ([here, there]) => [here, serverGenerator({ ...asked, model: there })] as const,
    );
    return { name, url, inFlight, generators: new Map(generators), probe: (signal) => modelsAt(url, key, signal) };
  });
}

/** Names that a server lists; Ollama's with and without their tag. */
async function modelsAt(url: string, key: string | undefined, signal: AbortSignal): Promise<string[]> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/models`, { headers, signal, redirect: "error" });
  if (!response.ok) throw new IroriError("io", { what: `${url}/models`, got: `status ${response.status}` });
  const { data } = modelsSchema.parse(await response.json());
  return data.flatMap(({ id }) => [id, id.replace(/:latest$/, "")]);
}
