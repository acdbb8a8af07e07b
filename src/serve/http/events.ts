// GET /irori/events: what happens in the server as server-sent events, that a client which reconnects goes on with.
// It does not know where events come from.
import { z } from "zod";
import type { Told } from "../events.ts";
import type { Route } from "./app.ts";
import { type Ctx, leavingOf, type Serving, streamsTo } from "./serving.ts";
import { numberedSse } from "./stream.ts";

const TYPES = ["load", "unload", "engine", "job", "lanes", "missed"] as const;

export const eventRoutes: readonly Route[] = [{ method: "GET", path: "/irori/events", serve: getEvents }];

async function getEvents(serving: Serving, c: Ctx): Promise<Response> {
  const { types } = z
    .object({
      types: z
        .string()
        .transform((text) => z.array(z.enum(TYPES)).parse(text.split(",")))
        .optional(),
    })
    .parse({ types: c.req.query("types") });
  const after = c.req.header("last-event-id") ?? c.req.query("after");
  const { name } = c.get("caller");
  const leaving = leavingOf(c);
  const takes = ({ type, caller }: Told["event"]) =>
    (caller === undefined || caller === name) && (types === undefined || types.some((wanted) => wanted === type));
  async function* values(): AsyncGenerator<unknown, void> {
    const lanes = { type: "lanes", ...serving.lanes.state() };
    if (takes(lanes)) yield framed({ id: undefined, event: lanes });
    for await (const told of serving.events.listen(takes, { after, signal: leaving.signal })) yield framed(told);
  }
  return numberedSse(values(), {
    beat: { everyMs: serving.beatMs, text: () => "listening" },
    onError: (error) => {
      serving.onStreamError(c.get("requestId"), error);
      return framed({ id: undefined, event: { type: "error", message: "the server failed; its log says why" } });
    },
    onLeft: () => leaving.abort(),
    onEnd: streamsTo(c),
    every: serving.every,
    headers: { "x-request-id": c.get("requestId") },
  });
}

const framed = ({ id, event: { type, caller: _, ...data } }: Told) => ({ id, type, data });
