// POST /v1/embeddings and GET /v1/models.
// It does not know batches or vectors' making.
import { HttpError } from "./errors.ts";
import { embeddingSchema } from "./openai-schema.ts";
import { bodyOf, type Ctx, leavingOf, modelOf, type Serving, unknownFields } from "./serving.ts";

export async function postEmbeddings(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, embeddingSchema);
  const model = await modelOf(serving, body.model);
  const { input } = body;
  const texts = typeof input === "string" ? [input] : input;
  if (texts.some((text) => typeof text !== "string"))
    throw new HttpError(
      400,
      "unsupported",
      { what: "input of token ids", wanted: "a text or a list of texts" },
      "input",
    );
  if (texts.length > serving.limits.embedTexts)
    throw new HttpError(
      400,
      "bad-input",
      { what: "input", got: `${texts.length} texts`, wanted: `at most ${serving.limits.embedTexts}` },
      "input",
    );
  const { signal } = leavingOf(c);
  using _resident = await serving.residents.use(model, signal);
  const dimensions = body.dimensions ?? undefined;
  const { vectors, tokens, truncated } = await serving.host.embed(model, texts as string[], {
    signal,
    ...(dimensions && { dimensions }),
  });
  const total = tokens.reduce((sum, count) => sum + count, 0);
  const cut = truncated.length > 0 ? [`texts ${truncated.join(", ")} were cut to what ${model} reads`] : [];
  const unknown = unknownFields(body, embeddingSchema).map((key) => `${key} is not known here and was ignored`);
  return c.json({
    object: "list",
    model,
    data: vectors.map((vector, index) => ({
      ...{ object: "embedding", index },
      embedding: body.encoding_format === "base64" ? base64Of(vector) : [...vector],
    })),
    usage: { prompt_tokens: total, total_tokens: total },
    irori: { warnings: [...unknown, ...cut] },
  });
}

/** Float32, little-endian, as OpenAI's clients read it. */
const base64Of = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");

export async function getModels(serving: Serving, c: Ctx): Promise<Response> {
  return c.json({ object: "list", data: await modelsOf(serving) });
}

export async function getModel(serving: Serving, c: Ctx): Promise<Response> {
  const model = await modelOf(serving, c.req.param("model"));
  return c.json((await modelsOf(serving)).find(({ id }) => id === model));
}

async function modelsOf({ host, models, residents }: Serving) {
  const stored = new Map((await host.stored()).map((model) => [model.name, model]));
  const open = new Map(residents.open().map(({ facts, model }) => [model, facts]));
  return [...new Set([...models, ...stored.keys()])].map((id) => {
    const facts = open.get(id);
    return {
      ...{ id, object: "model", created: Math.floor((stored.get(id)?.pulledAt ?? 0) / 1000), owned_by: "irori" },
      irori: {
        is_open: facts !== undefined,
        ...(stored.has(id) && { bytes: stored.get(id)?.bytes }),
        ...(facts && { family: facts.family, context: facts.context, form: facts.form, parameters: facts.parameters }),
      },
    };
  });
}
