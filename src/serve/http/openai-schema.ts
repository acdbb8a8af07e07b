// What OpenAI's API takes, as schemas: checked at the door, published in the OpenAPI document.
// It does not know what becomes of a request.
import { z } from "zod";
import { insideFields } from "./inside-fields.ts";
import { memoryField } from "./memory-fields.ts";
import { servedFields } from "./serving.ts";

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const otherPart = z.looseObject({ type: z.string() });
const contentSchema = z.union([z.string(), z.array(z.union([textPart, otherPart])), z.null()]);

const toolCallSchema = z.looseObject({
  id: z.string().optional(),
  type: z.string().optional(),
  function: z.looseObject({ name: z.string(), arguments: z.union([z.string(), z.record(z.string(), z.unknown())]) }),
});

export const messageSchema = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: contentSchema.optional(),
  name: z.string().optional(),
  tool_calls: z.array(toolCallSchema).nullish(),
  tool_call_id: z.string().optional(),
  reasoning_content: z.string().nullish(),
});
export type Message = z.infer<typeof messageSchema>;

export const toolSchema = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: z.string().regex(/^[\w.-]{1,64}$/),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().nullish(),
  }),
});
export type Tool = z.infer<typeof toolSchema>;

const toolChoiceSchema = z.union([
  z.enum(["none", "auto", "required"]),
  z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) }),
]);

const responseFormatSchema = z.union([
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({
      name: z.string().optional(),
      schema: z.union([z.record(z.string(), z.unknown()), z.boolean()]),
      strict: z.boolean().nullish(),
    }),
  }),
]);

const stopSchema = z.union([z.string(), z.array(z.string().min(1)).max(16)]);

/** How tokens are chosen: OpenAI's names, and those that vLLM and llama-server added. */
export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.number().int().min(-1).optional(),
  min_p: z.number().min(0).max(1).optional(),
  repetition_penalty: z.number().positive().max(10).optional(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).nullish(),
  seed: z.number().int().nullish(),
  stop: stopSchema.nullish(),
  n: z.number().int().min(1).max(16).nullish(),
  max_tokens: z.number().int().min(1).nullish(),
  min_tokens: z.number().int().min(0).optional(),
  ignore_eos: z.boolean().optional(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  service_tier: z.string().nullish(),
  user: z.string().optional(),
};
export type SamplingBody = z.infer<z.ZodObject<typeof samplingFields>>;

/** Fields that clients send and that change nothing here. */
const harmless = {
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
};

export const chatSchema = z.looseObject({
  model: z.string().optional(),
  messages: z.array(messageSchema).min(1),
  ...samplingFields,
  max_completion_tokens: z.number().int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  response_format: responseFormatSchema.nullish(),
  tools: z.array(toolSchema).max(128).nullish(),
  tool_choice: toolChoiceSchema.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning_effort: z.string().nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
  ...memoryField,
  ...insideFields,
  ...servedFields,
  ...harmless,
});
export type ChatBody = z.infer<typeof chatSchema>;

const idsSchema = z.array(z.number().int().min(0));
export const completionSchema = z.looseObject({
  model: z.string().optional(),
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1).max(64),
    idsSchema.min(1),
    z.array(idsSchema.min(1)).min(1).max(64),
  ]),
  ...samplingFields,
  logprobs: z.number().int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
  best_of: z.number().int().min(1).max(16).nullish(),
  ...insideFields,
  ...servedFields,
  ...harmless,
});
export type CompletionBody = z.infer<typeof completionSchema>;

export const embeddingSchema = z.looseObject({
  model: z.string().optional(),
  input: z.union([z.string(), z.array(z.string()).min(1), idsSchema.min(1), z.array(idsSchema.min(1)).min(1)]),
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.number().int().min(1).nullish(),
  user: z.string().optional(),
  ...servedFields,
});
