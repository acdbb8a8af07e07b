// What POST /v1/responses takes, as a schema: checked at the door, published in the OpenAPI document.
// It does not know what becomes of a request.
import { z } from "zod";
import { insideFields } from "./inside-fields.ts";
import { memoryField } from "./memory-fields.ts";
import { samplingFields } from "./openai-schema.ts";
import { servedFields } from "./serving.ts";

const partSchema = z.looseObject({ type: z.string(), text: z.string().optional() });

/** One of a conversation: a message, a call, what a function gave, thinking, or another's id. Its `type` says which. */
export const itemSchema = z.looseObject({
  type: z.string().optional(),
  id: z.string().nullish(),
  role: z.enum(["system", "developer", "user", "assistant"]).optional(),
  content: z.union([z.string(), z.array(partSchema)]).nullish(),
  call_id: z.string().optional(),
  name: z.string().optional(),
  arguments: z.string().optional(),
  output: z.union([z.string(), z.array(partSchema)]).optional(),
  summary: z.array(partSchema).optional(),
});
export type Item = z.infer<typeof itemSchema>;

const functionTool = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});
export type ResponseTool = z.infer<typeof functionTool>;

const textFormat = z.union([
  z.looseObject({ type: z.enum(["text", "json_object"]) }),
  z.looseObject({
    type: z.literal("json_schema"),
    name: z.string().optional(),
    schema: z.union([z.record(z.string(), z.unknown()), z.boolean()]),
    strict: z.boolean().nullish(),
  }),
]);

const { temperature, top_p, top_k, min_p, repetition_penalty, seed, stop, service_tier, user, stream } = samplingFields;

export const responseSchema = z.looseObject({
  model: z.string().optional(),
  input: z.union([z.string(), z.array(itemSchema).min(1)]),
  instructions: z.string().nullish(),
  previous_response_id: z.string().nullish(),
  store: z.boolean().nullish(),
  max_output_tokens: z.number().int().min(1).nullish(),
  tools: z.array(functionTool).max(128).nullish(),
  tool_choice: z.union([z.string(), z.looseObject({ type: z.string() })]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z.looseObject({ format: textFormat.nullish(), verbosity: z.string().nullish() }).nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish(), summary: z.string().nullish() }).nullish(),
  include: z.array(z.string()).nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  truncation: z.string().nullish(),
  background: z.boolean().nullish(),
  stream_options: z.looseObject({ include_obfuscation: z.boolean().optional() }).nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
  ...{ temperature, top_p, top_k, min_p, repetition_penalty, seed, stop, service_tier, user, stream },
  ...memoryField,
  ...insideFields,
  ...servedFields,
  /** Sent back as it came. */
  metadata: z.record(z.string(), z.string()).nullish(),
  // clients send these, and they change nothing here
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
});
export type ResponseBody = z.infer<typeof responseSchema>;
