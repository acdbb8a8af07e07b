// Streams over HTTP: server-sent events and lines of JSON, with heartbeats while nothing comes, and an end that is always told.
// It does not know what the events mean.

export interface Beat {
  readonly everyMs: number;
  /** What a heartbeat says. */
  readonly text: () => string;
}

interface Framing {
  readonly type: string;
  readonly frame: (value: unknown) => string;
  readonly beat: (text: string) => string;
}

const SSE: Framing = {
  type: "text/event-stream; charset=utf-8",
  frame: (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`,
  beat: (text) => `: ${text}\n\n`,
};
/** Events with their `type` as their name. */
const NAMED_SSE: Framing = {
  ...SSE,
  frame: (value) => `event: ${(value as { readonly type: string }).type}\n${SSE.frame(value)}`,
};
/** Events with an id, where they have one, that a reader who comes back says. */
const NUMBERED_SSE: Framing = {
  ...SSE,
  frame: (value) => {
    const { id, type, data } = value as {
      readonly id: string | undefined;
      readonly type: string;
      readonly data: object;
    };
    return `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\n${SSE.frame(data)}`;
  },
};
const NDJSON: Framing = {
  type: "application/x-ndjson",
  frame: (value) => `${JSON.stringify(value)}\n`,
  // whitespace between two lines is no line
  beat: () => "\n",
};

export interface StreamOptions {
  readonly beat: Beat;
  /** What an error in the middle is told as; the stream ends with it. */
  readonly onError: (error: unknown) => unknown;
  /** Called when the reader has left. */
  readonly onLeft: () => void;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Calls again and again; gives what ends that. */
  readonly every: (ms: number, then: () => void) => () => void;
  /** Called when its last record is made, or its reader has left and what made them has ended. */
  readonly onEnd: () => void;
}

/** A response of values as they come. Its reader who is slow makes the values wait. */
const streamAs =
  (framing: Framing) =>
  (values: AsyncIterator<unknown>, options: StreamOptions): Response => {
    const encoder = new TextEncoder();
    const { beat, onError, onLeft, every, onEnd, headers } = options;
    let isQuiet = true;
    let isLeft = false;
    let stopBeats: () => void = () => undefined;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        stopBeats = every(beat.everyMs / 2, () => {
          if (isQuiet && (controller.desiredSize ?? 0) > 0)
            controller.enqueue(encoder.encode(framing.beat(beat.text())));
          isQuiet = true;
        });
      },
      async pull(controller) {
        try {
          const { done, value } = await values.next();
          isQuiet = false;
          if (isLeft) return; // the reader left while this came: nothing is taken any more
          if (!done) {
            controller.enqueue(encoder.encode(framing.frame(value)));
            return;
          }
        } catch (error) {
          if (isLeft) return;
          controller.enqueue(encoder.encode(framing.frame(onError(error))));
        }
        stopBeats();
        controller.close();
        onEnd();
      },
      async cancel() {
        isLeft = true;
        stopBeats();
        onLeft();
        await Promise.resolve(values.return?.()).finally(onEnd);
      },
    });
    return new Response(body, {
      headers: { "content-type": framing.type, "cache-control": "no-cache", "x-accel-buffering": "no", ...headers },
    });
  };

export const sse = streamAs(SSE);
export const namedSse = streamAs(NAMED_SSE);
export const numberedSse = streamAs(NUMBERED_SSE);
export const ndjson = streamAs(NDJSON);
