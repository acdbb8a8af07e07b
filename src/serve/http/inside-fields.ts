// What callers say of the inside of a model: an adapter by name, and interventions. It does not know how they are done.
import { z } from "zod";
import type { Host, HostRequest } from "../host.ts";
import { HttpError } from "./errors.ts";

const name = z.string().min(1).max(200);
const whole = z.number().int().min(-1e9).max(1e9);
/** A vector of the server by its name, or its numbers. */
const vector = z.union([name, z.array(z.number()).min(1).max(65_536)]);
/** Positions count from the prompt's start, negative ones from its end; left out, the prompt and the tokens made are all meant. */
const where = {
  at: name,
  positions: z.array(whole).max(4096).optional(),
  heads: z.array(z.number().int().min(0).max(4096)).max(4096).optional(),
};
const interventionSchema = z.discriminatedUnion("do", [
  z.strictObject({ ...where, do: z.literal("steer"), vector, strength: z.number() }),
  z.strictObject({ ...where, do: z.literal("clamp"), vector, target: z.number() }),
  z.strictObject({ ...where, do: z.literal("zero") }),
  z.strictObject({ ...where, do: z.literal("set"), value: z.union([z.number(), name]) }),
  z.strictObject({ ...where, do: z.literal("mean"), of: name }),
]);

export const insideFields = {
  adapter: name.optional(),
  interventions: z.array(interventionSchema).min(1).max(64).optional(),
};

type InsideBody = z.infer<z.ZodObject<typeof insideFields>>;

export const insideOf = ({ adapter, interventions }: InsideBody): Pick<HostRequest, "adapter" | "interventions"> => ({
  adapter,
  interventions,
});

/** Throws 404 for names that there are none of, before a stream has begun. */
export async function checkInside(host: Host, { adapter, interventions = [] }: InsideBody): Promise<void> {
  const vectors = interventions.flatMap((spec) => [
    "vector" in spec ? spec.vector : undefined,
    "value" in spec ? spec.value : undefined,
    "of" in spec ? spec.of : undefined,
  ]);
  const wanted = [
    ...(adapter === undefined ? [] : [{ kind: "adapters", name: adapter, param: "adapter" } as const]),
    ...vectors.flatMap((name) =>
      typeof name === "string" ? [{ kind: "vectors", name, param: "interventions" } as const] : [],
    ),
  ];
  if (wanted.length === 0) return;
  const known = await host.inside();
  for (const { kind, name, param } of wanted) {
    const names = known[kind].map((one) => one.name);
    if (names.includes(name)) continue;
    throw new HttpError(
      404,
      "not-found",
      {
        what: `there is no ${kind.slice(0, -1)} ${JSON.stringify(name)} here`,
        wanted: names.join(", ") || `none was given to the server (irori serve --${kind.slice(0, -1)} NAME=PATH)`,
      },
      param,
    );
  }
}
