// The text behind an address: pages, PDFs, plain texts, of bounded size. For callers from elsewhere only public addresses are asked: the name
// is looked up once, checked, and that very address is connected to, at every redirect. It does not know what becomes of the text.
import { lookup as lookUp } from "node:dns/promises";
import * as http from "node:http";
import * as https from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { IroriError } from "../../base/mod.ts";
import { readDocument } from "../../memory/mod.ts";

export interface FetchOptions {
  /** Addresses of this machine and of private networks are refused. */
  readonly isPublicOnly: boolean;
  readonly signal?: AbortSignal | undefined;
}

const MOST_BYTES = 20_000_000;
const MOST_REDIRECTS = 5;
const PATIENCE_MS = 30_000;

const inside = new BlockList();
for (const [net, prefix] of [
  ...([
    ["0.0.0.0", 8],
    ["10.0.0.0", 8],
    ["100.64.0.0", 10],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["172.16.0.0", 12],
  ] as const),
  ...([
    ["192.0.0.0", 24],
    ["192.0.2.0", 24],
    ["192.88.99.0", 24],
    ["192.168.0.0", 16],
    ["198.18.0.0", 15],
  ] as const),
  ...([
    ["198.51.100.0", 24],
    ["203.0.113.0", 24],
    ["224.0.0.0", 4],
    ["240.0.0.0", 4],
  ] as const),
])
  inside.addSubnet(net, prefix, "ipv4");
for (const [net, prefix] of [
  ...([
    ["::", 128],
    ["::1", 128],
    ["64:ff9b::", 96],
    ["64:ff9b:1::", 48],
    ["100::", 64],
    ["2001::", 23],
    ["2001:db8::", 32],
  ] as const),
  ...([
    ["2002::", 16],
    ["fc00::", 7],
    ["fe80::", 10],
    ["ff00::", 8],
  ] as const),
])
  inside.addSubnet(net, prefix, "ipv6");

/** Whether an address is of this machine, of a private network or of nobody. IPv4 written as IPv6 counts as IPv4. */
export function isInside(address: string): boolean {
  const mapped = /^::(?:ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? ofHex(address);
  if (mapped !== undefined) return inside.check(mapped, "ipv4");
  return inside.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
function ofHex(address: string): string | undefined {
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
}

/** Connects to what was checked, whatever the name says the next moment. */
const checkedLookup: LookupFunction = (hostname, options, callback) => {
  lookUp(hostname, { all: true }).then(
    (found) => {
      const bad = found.find(({ address }) => isInside(address));
      const [first] = found;
      if (bad !== undefined || first === undefined) callback(refused(hostname), "", 4);
      else if (options.all) callback(null, found);
      else callback(null, first.address, first.family);
    },
    (error: NodeJS.ErrnoException) => callback(error, "", 4),
  );
};
const refused = (name: string): IroriError =>
  new IroriError("bad-input", { what: `${name} is no public address`, next: "callers may name public addresses only" });

/** Throws "bad-input" for an address that may not be asked, "io" where nothing comes or it is too large, "unsupported" for what is no text. */
export async function fetchText(
  url: string,
  options: FetchOptions,
): Promise<{ readonly text: string; readonly name: string }> {
  let at = new URL(url);
  for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
    const response = await requested(at, options);
    const { statusCode = 0, headers } = response;
    if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
      response.destroy();
      at = new URL(headers.location, at);
      continue;
    }
    if (statusCode !== 200) {
      response.destroy();
      throw new IroriError("io", { what: `${at.host} does not give the page`, got: statusCode, wanted: 200 });
    }
    const bytes = await whole(response, at.host);
    return { text: await readDocument(nameOf(at, headers["content-type"] ?? ""), bytes), name: at.host + at.pathname };
  }
  throw new IroriError("io", { what: `${at.host} leads on and on`, got: `more than ${MOST_REDIRECTS} redirects` });
}

async function requested(url: URL, { isPublicOnly, signal }: FetchOptions): Promise<http.IncomingMessage> {
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new IroriError("bad-input", { what: "the address", got: url.protocol, wanted: "http: or https:" });
  const name = url.hostname.replace(/^\[|\]$/g, "");
  if (isPublicOnly && isIP(name) !== 0 && isInside(name)) throw refused(name); // no name is looked up for it
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const limit = AbortSignal.timeout(PATIENCE_MS);
  const options = {
    ...{ signal: signal ? AbortSignal.any([signal, limit]) : limit, agent: false as const },
    headers: { "user-agent": "irori", accept: "text/html, text/plain, text/markdown, application/pdf;q=0.9" },
    ...(isPublicOnly && { lookup: checkedLookup }),
  };
  const request = (url.protocol === "https:" ? https : http).get(url, options, resolve);
  request.on("error", (cause) =>
    reject(
      cause instanceof IroriError
        ? cause
        : new IroriError("io", { what: `${url.host} does not answer`, got: cause.message, cause }),
    ),
  );
  return promise;
}

async function whole(response: http.IncomingMessage, host: string): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MOST_BYTES) {
      response.destroy();
      throw new IroriError("io", { what: `the page of ${host} is too large`, wanted: `at most ${MOST_BYTES} bytes` });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** A file's name that says what it is, as its type does. */
function nameOf({ pathname }: URL, type: string): string {
  if (type.includes("html")) return "page.html";
  if (type.includes("pdf")) return "page.pdf";
  const name = pathname.split("/").at(-1) ?? "";
  return /\.\w+$/.test(name) ? name : `${name || "page"}.txt`;
}
