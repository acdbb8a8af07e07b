// The OpenAPI document, from the same schemas that requests are checked against at the door.
// It does not know what routes do.
import { z } from "zod";
import type { Route } from "./app.ts";

const ERRORS = {
  "400": "The request cannot be served as it stands; the sentence says why",
  "401": "A key is needed",
  "403": "The key, or the page's origin, may not do this",
  "404": "There is no such model, or no such thing",
  "409": "Somebody else changed it",
  "413": "The body is too long",
  "422": "The model gave no usable answer; the sentence says what it gave",
  "421": "The Host header is no name of this server",
  "429": "A lane or a quota is full, or a deadline cannot be kept; see Retry-After",
  "501": "Not served here; the sentence says what is instead",
  "503": "No room, or the engine was lost; try again",
};
const error = {
  type: "object",
  properties: { error: { anyOf: [{ type: "string" }, { type: "object" }] } },
  required: ["error"],
};

/** OpenAPI 3.1 of a list of routes. */
export function openApiOf(routes: readonly Route[], version: string) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, body, serve: _ } of routes) {
    const named = path.replace(/:(\w+)/g, "{$1}");
    const parameters = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
      ...{ name, in: "path", required: true, schema: { type: "string", minLength: 1 } },
    }));
    const answers = Object.entries(ERRORS).map(([status, description]) => [
      status,
      { description, content: { "application/json": { schema: error } } },
    ]);
    paths[named] = {
      ...paths[named],
      [method.toLowerCase()]: {
        operationId: `${method.toLowerCase()}${named.replace(/\W+/g, "_")}`,
        ...(parameters.length > 0 && { parameters }),
        ...(body && { requestBody: { required: true, content: { "application/json": { schema: schemaOf(body) } } } }),
        responses: { "200": { description: "Answered" }, ...Object.fromEntries(answers) },
      },
    };
  }
  const bearer = { type: "http", scheme: "bearer" };
  return {
    openapi: "3.1.0",
    info: { title: "Irori", version },
    paths,
    components: { securitySchemes: { bearer } },
    security: [{}, { bearer: [] }],
  };
}

function schemaOf(body: z.ZodType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(body, { io: "input", unrepresentable: "any" });
  return schema;
}
