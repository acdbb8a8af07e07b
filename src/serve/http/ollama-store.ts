// Ollama's routes that change the store or are old names: pull, delete, embeddings; and those that are not done here.
// It does not know how models are fetched or kept.
import { z } from "zod";
import type { ProgressEvent } from "../../base/mod.ts";
import { told } from "../told.ts";
import { factsOfError, HttpError, ollamaError } from "./errors.ts";
import { bodyOf, type Ctx, leavingOf, modelOf, type Serving, streamOf } from "./serving.ts";
import { ndjson } from "./stream.ts";

const named = { model: z.string().optional(), name: z.string().optional() };
const pullSchema = z.looseObject({ ...named, stream: z.boolean().optional(), insecure: z.boolean().optional() });
const deleteSchema = z.looseObject(named);
const embeddingsSchema = z.looseObject({ model: z.string(), prompt: z.string() });

const nameOf = ({
  model,
  name,
}: {
  readonly model?: string | undefined;
  readonly name?: string | undefined;
}): string => {
  const given = model ?? name;
  if (given) return given;
  throw new HttpError(400, "bad-input", { what: "model is missing" }, "model");
};

type Pulled = { readonly type: "line"; readonly line: object };

/** A model that is here is said to be; others are fetched where the server may fetch for callers. */
async function postPull(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, pullSchema);
  const model = nameOf(body);
  const leaving = leavingOf(c);
  const isHere = await modelOf(serving, model).then(
    () => true,
    () => false,
  );
  if (!isHere && !serving.mayFetch)
    throw new HttpError(
      403,
      "unsupported",
      {
        what: `${JSON.stringify(model)} is not in the store, and this server fetches nothing for callers`,
        next: `fetch it with \`irori pull\`, or start the server with --fetch`,
      },
      "model",
    );
  async function* lines(): AsyncGenerator<readonly [Pulled, number], void> {
    const line = (value: object) => [{ type: "line", line: value }, 0] as const;
    yield line({ status: "pulling manifest" });
    if (!isHere) for await (const event of fetched(serving, model, leaving.signal)) yield line(progressOf(event));
    yield line({ status: "success" });
  }
  if (body.stream !== false)
    return streamOf(serving, c, {
      ...{ events: lines(), leaving, as: ndjson, errorOf: (error) => ollamaError(factsOfError(error)) },
      async *chunks(from) {
        for await (const [event] of from) yield event.line;
      },
    });
  for await (const _ of lines());
  return c.json({ status: "success" });
}
const fetched = ({ host }: Serving, model: string, stop: AbortSignal) =>
  told<ProgressEvent>(stop, (onProgress, signal) => host.pull(model, { signal, onProgress }));
const progressOf = ({ step, item, done, total }: ProgressEvent) => ({
  ...{ status: item === undefined ? step : `${step} ${item}`, completed: done, ...(total !== undefined && { total }) },
});

/** Throws 409 for a model that is served or in use. */
async function deleteModel(serving: Serving, c: Ctx): Promise<Response> {
  const { host, residents, models } = serving;
  const model = await modelOf(serving, nameOf(await bodyOf(c, deleteSchema)));
  if (models.includes(model))
    throw new HttpError(409, "conflict", {
      what: `${model} is served here`,
      next: "stop the server, then `irori rm`",
    });
  if (residents.isOpen(model)) await residents.unload(model);
  await host.remove(model);
  return c.body(null, 200);
}

async function postEmbeddings(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, embeddingsSchema);
  const model = await modelOf(serving, body.model);
  const { signal } = leavingOf(c);
  using _ = await serving.residents.use(model, signal);
  const { vectors } = await serving.host.embed(model, [body.prompt], { signal });
  return c.json({ embedding: [...(vectors[0] ?? [])] });
}

async function notDone(_: Serving, c: Ctx): Promise<Response> {
  throw new HttpError(501, "unsupported", {
    what: `${c.req.path} is not served here`,
    next: "`irori pull`, `ls` and `rm` manage the store",
  });
}

export const ollamaStoreRoutes = [
  { method: "POST", path: "/api/pull", body: pullSchema, serve: postPull },
  { method: "DELETE", path: "/api/delete", body: deleteSchema, serve: deleteModel },
  { method: "POST", path: "/api/embeddings", body: embeddingsSchema, serve: postEmbeddings },
  ...["/api/create", "/api/copy", "/api/push", "/api/blobs/:digest"].map(
    (path) => ({ method: "POST", path, serve: notDone }) as const,
  ),
] as const;
