// What is known of the network from outside: where the hub is, tokens, proxies, and how long to wait for whom.
// It opens no connection.

export interface NetworkOptions {
  /** Where the hub answers. Default https://huggingface.co. */
  readonly hubEndpoint?: string | undefined;
  /** Sent to the hub alone. */
  readonly hubToken?: string | undefined;
  /** http_proxy, https_proxy, no_proxy, or the same in capitals. */
  readonly proxies?: Readonly<Record<string, string>> | undefined;
  /** Until a server begins to answer. Default 6,000. */
  readonly answerMs?: number | undefined;
  /** Without a byte of an answer that has begun. Default 20,000. */
  readonly idleMs?: number | undefined;
  /** Failures in a row, without a byte between them, until a download gives up. Default 6. */
  readonly attempts?: number | undefined;
  /** Before the second attempt; doubled before each further one. Default 500. */
  readonly retryMs?: number | undefined;
  /** Longest wait that a server may ask for. Default 60,000. */
  readonly longestWaitMs?: number | undefined;
  /** Connections of one download. Default 4. */
  readonly connections?: number | undefined;
  /** Bytes that one connection takes at a time. Default 16 MiB. */
  readonly pieceBytes?: number | undefined;
}

type Settled = { readonly [K in keyof NetworkOptions]-?: NonNullable<NetworkOptions[K]> };
export type Network = Omit<Settled, "hubToken"> & { readonly hubToken: string | undefined };

export function networkOf(options: NetworkOptions = {}): Network {
  return {
    hubEndpoint: (options.hubEndpoint || "https://huggingface.co").replace(/\/+$/, ""),
    hubToken: options.hubToken || undefined,
    proxies: options.proxies ?? {},
    answerMs: options.answerMs ?? 6_000,
    idleMs: options.idleMs ?? 20_000,
    attempts: options.attempts ?? 6,
    retryMs: options.retryMs ?? 500,
    longestWaitMs: options.longestWaitMs ?? 60_000,
    connections: options.connections ?? 4,
    pieceBytes: options.pieceBytes ?? 16 << 20,
  };
}
