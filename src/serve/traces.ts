// Spans of requests and their answers for OpenTelemetry, sent over OTLP. The only file that imports it, and loaded only where an
// endpoint is configured. Names are the semantic conventions' (http.*, gen_ai.*). It does not know routes or lanes.
import {
  type Attributes,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { RequestFacts } from "./http/app.ts";
import { type AnswerFacts, Collected, type Watcher } from "./watcher.ts";

export interface TraceOptions {
  /** Where OTLP over HTTP is taken: OTEL_EXPORTER_OTLP_ENDPOINT; /v1/traces is put behind it. */
  readonly endpoint: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly service?: string | undefined;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

export function openTraces({ endpoint, headers, service = "irori", version, clock }: TraceOptions): Watcher {
  const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, ...(headers && { headers: { ...headers } }) });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "service.version": version }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer("irori", version);
  const collected = new Collected(clock);

  /** A span of which beginning and end are known. */
  function span(name: string, [from, to]: readonly [number, number], attributes: Attributes, above?: Span): Span {
    const context = above === undefined ? ROOT_CONTEXT : trace.setSpan(ROOT_CONTEXT, above);
    const made = tracer.startSpan(name, { startTime: from, attributes }, context);
    made.end(to);
    return made;
  }
  function answer(facts: AnswerFacts, above: Span): void {
    const { model, lane, endedAt, waitedMs, prefillMs = 0, decodeMs = 0, end, promptTokens, tokens } = facts;
    const [decoding, reading] = [endedAt - decodeMs, endedAt - decodeMs - prefillMs];
    const attributes = {
      ...{ "gen_ai.operation.name": "chat", "gen_ai.request.model": model, "irori.lane": lane },
      ...(end !== undefined && { "gen_ai.response.finish_reasons": [end] }),
      ...(promptTokens !== undefined && { "gen_ai.usage.input_tokens": promptTokens }),
      ...(tokens !== undefined && { "gen_ai.usage.output_tokens": tokens }),
    };
    const whole = span(`chat ${model}`, [reading - waitedMs, endedAt], attributes, above);
    span("queue", [reading - waitedMs, reading], {}, whole);
    if (prefillMs > 0) span("prefill", [reading, decoding], {}, whole);
    if (decodeMs > 0) span("decode", [decoding, endedAt], {}, whole);
  }

  return {
    watch: collected.watch,
    request(facts) {
      const { requestId, method, route, status, ms, caller } = facts;
      const answers = collected.take(requestId);
      if (route.startsWith("/health") || route === "/metrics") return;
      const at = clock();
      const attributes = {
        ...{ "http.request.method": method, "http.route": route, "http.response.status_code": status },
        ...{ "irori.request_id": requestId, "irori.caller": caller },
      };
      const options = { startTime: at - ms, kind: SpanKind.SERVER, attributes };
      const made = tracer.startSpan(`${method} ${route}`, options, contextOf(facts));
      if (status >= 500) made.setStatus({ code: SpanStatusCode.ERROR });
      for (const each of answers) answer(each, made);
      made.end(at);
    },
    [Symbol.asyncDispose]: () => provider.shutdown(),
  };
}

/** W3C trace context: the caller's own trace goes on here. */
function contextOf({ traceparent }: RequestFacts) {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags ?? "0", 16) & TraceFlags.SAMPLED;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}
