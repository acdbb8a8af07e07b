// /irori/adapters, /irori/vectors, /irori/hooks, /irori/captures: what of a model's inside may be named, and its values while it reads
// and answers. It does not know how they are found.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";
import type { AnswerEvent } from "../answers.ts";
import type { Route } from "./app.ts";
import { HttpError } from "./errors.ts";
import { checkInside, insideFields, insideOf } from "./inside-fields.ts";
import { aboutOf, usageOf } from "./openai-answer.ts";
import { messagesOf } from "./openai-request.ts";
import { messageSchema } from "./openai-schema.ts";
import { bodyOf, type Ctx, laneOf, leavingOf, modelOf, type Serving, servedFields } from "./serving.ts";

const captureBody = z.strictObject({
  model: z.string().optional(),
  prompt: z.union([z.string().min(1), z.array(z.number().int().min(0)).min(1)]).optional(),
  messages: z.array(messageSchema).min(1).optional(),
  /** Patterns of HookPoints: blocks.*.hook_resid_post. */
  capture: z.array(z.string().min(1).max(200)).min(1).max(64),
  /** Tokens that are made; those but the last are captured too. Default 1: the prompt alone is. */
  max_tokens: z.number().int().min(1).max(4096).optional(),
  temperature: z.number().min(0).max(2).optional(),
  seed: z.number().int().min(0).optional(),
  ...insideFields,
  ...servedFields,
});

export const insideRoutes: readonly Route[] = [
  { method: "GET", path: "/irori/adapters", serve: async (serving, c) => list(c, (await inside(serving)).adapters) },
  { method: "GET", path: "/irori/vectors", serve: async (serving, c) => list(c, (await inside(serving)).vectors) },
  { method: "GET", path: "/irori/hooks", serve: getHooks },
  { method: "POST", path: "/irori/captures", body: captureBody, serve: postCaptures },
];

const inside = ({ host }: Serving) => host.inside();
const list = (c: Ctx, data: readonly object[] | readonly string[]) => c.json({ object: "list", data });

async function getHooks(serving: Serving, c: Ctx): Promise<Response> {
  const model = await modelOf(serving, c.req.query("model"));
  using _ = await serving.residents.use(model, leavingOf(c).signal);
  return list(c, await serving.host.hookPoints(model));
}

async function postCaptures(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, captureBody);
  const model = await modelOf(serving, body.model);
  const { signal } = leavingOf(c);
  const { host, residents, answers } = serving;
  await checkInside(host, body);
  using _ = await residents.use(model, signal);
  const { ids } = await host.encode(model, promptOf(body));
  const { max_tokens = 1, capture, seed = 0, temperature = 0 } = body;
  await checkSize(serving, { model, capture, tokens: ids.length + max_tokens - 1 });
  const events = answers.answer(
    {
      ...{ model, prompt: { ids }, lane: laneOf(c, body.lane), caller: c.get("caller").name, seed, capture },
      ...{ sampling: { temperature }, maxTokens: max_tokens, startWithinMs: body.timeout_ms, ...insideOf(body) },
    },
    signal,
  );
  const pieces = new Pieces();
  for await (const event of events)
    if (event.type === "captured") pieces.add(event);
    else if (event.type === "end") {
      const { text } = event;
      const about = { usage: usageOf([event]), irori: aboutOf([event], []) };
      return c.json({
        object: "capture",
        model,
        prompt_ids: ids,
        ids: event.ids,
        text,
        tensors: pieces.told(),
        ...about,
      });
    }
  throw new IroriError("io", { what: "the answer ended without its last record", next: "try again" });
}

function promptOf({ prompt, messages }: z.infer<typeof captureBody>) {
  if ((prompt === undefined) === (messages === undefined))
    throw new HttpError(400, "bad-input", { what: "prompt and messages", wanted: "one of them" }, "prompt");
  if (messages !== undefined) return { messages: messagesOf(messages) };
  return typeof prompt === "string" ? { text: prompt } : { ids: prompt as number[] };
}

/** Refused before anything runs, by the shapes alone. */
async function checkSize(
  { host, limits }: Serving,
  { model, capture, tokens }: { readonly model: string; readonly capture: readonly string[]; readonly tokens: number },
): Promise<void> {
  const sizes = Object.entries(await host.captureSizes(model, capture, tokens)).sort(([, a], [, b]) => b - a);
  const bytes = 4 * sizes.reduce((sum, [, size]) => sum + size, 0);
  if (bytes <= limits.captureBytes) return;
  const [largest = "", size = 0] = sizes[0] ?? [];
  throw new HttpError(
    400,
    "bad-input",
    {
      what: `captures of ${tokens} tokens at ${sizes.length} HookPoints`,
      got: `${bytes.toLocaleString("en")} bytes`,
      wanted: `at most ${limits.captureBytes.toLocaleString("en")}`,
      next: `capture fewer (${largest} alone takes ${(4 * size).toLocaleString("en")}), or a shorter text`,
    },
    "capture",
  );
}

type Captured = Extract<AnswerEvent, { readonly type: "captured" }>;
interface Piece {
  readonly from: number;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Captured values by HookPoint: one piece where tokens are the second axis; scores and patterns have one for each run. */
class Pieces {
  readonly #all = new Map<string, Piece[]>();

  add({ from, tensors }: Captured): void {
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      const pieces = this.#all.get(name) ?? [];
      pieces.push({ from, shape, data: Float32Array.from(data as Float32Array) });
      this.#all.set(name, pieces);
    }
  }

  told() {
    const of = ({ from, shape, data }: Piece) => ({
      ...{ from, shape, dtype: "float32" },
      data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
    });
    return Object.fromEntries(
      [...this.#all].map(([name, pieces]) => [
        name,
        (/\.hook_(attn_scores|pattern)$/.test(name) ? pieces : [joined(pieces)]).map(of),
      ]),
    );
  }
}

function joined(pieces: readonly Piece[]): Piece {
  const { from, shape } = pieces[0] as Piece;
  const tokens = pieces.reduce((sum, piece) => sum + (piece.shape[1] as number), 0);
  const data = new Float32Array(pieces.reduce((sum, piece) => sum + piece.data.length, 0));
  let at = 0;
  for (const piece of pieces) {
    data.set(piece.data, at);
    at += piece.data.length;
  }
  return { from, shape: shape.map((size, axis) => (axis === 1 ? tokens : size)), data };
}
