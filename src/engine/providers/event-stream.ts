// Server-sent events as they come in, one after another. It does not know what they say.
import { createParser } from "eventsource-parser";

/** Characters of one event at most: more is no event of ours. */
const MOST = 8 * 2 ** 20;

/** The data of each event. Throws the parser's error where what comes is no stream of events. */
export async function* eventData(pieces: AsyncIterable<string>): AsyncGenerator<string, void> {
  const ready: string[] = [];
  const parser = createParser({
    maxBufferSize: MOST,
    onEvent: ({ data }) => ready.push(data),
    onError: (error) => {
      // fields that are not known are to be passed over, as the format says
      if (error.type === "max-buffer-size-exceeded") throw error;
    },
  });
  for await (const piece of pieces) {
    parser.feed(piece);
    yield* ready.splice(0);
  }
}
