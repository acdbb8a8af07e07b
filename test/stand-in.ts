// A server on 127.0.0.1 in the place of a hub and of the web: it serves files with ranges, as a hub does, and has the accidents
// that it is told to have. It keeps a log of what was asked. It does not know Irori.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface Accident {
  /** Ends the connection after so many bytes of the body. */
  readonly breakAfter?: number;
  /** Sends so many bytes and then nothing more. */
  readonly stallAfter?: number;
  /** Never answers. */
  readonly isSilent?: boolean;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Gives the part that begins so many bytes later than the one that was asked for. */
  readonly shiftRange?: number;
  readonly ignoreRange?: boolean;
  /** Says another length of the whole in Content-Range. */
  readonly total?: number;
  readonly etag?: string;
  /** Changes the bytes before they go out. */
  readonly spoil?: (bytes: Buffer) => Buffer;
  /** Between pieces of 16 KiB. */
  readonly pauseMs?: number;
  readonly redirect?: string;
}

export interface Asked {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  readonly host: string | undefined;
}

export interface Repository {
  readonly files: Readonly<Record<string, Buffer>>;
  readonly license?: string;
  readonly commit?: string;
}

type Rule = (asked: Asked, times: number) => Accident | undefined;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const gitHash = (bytes: Uint8Array) => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
/** Files of this length and more are kept as the hub keeps large ones. */
const largeBytes = 10_000;

export class StandIn implements AsyncDisposable {
  readonly log: Asked[] = [];
  /** By path, "/plain/NAME". */
  readonly files = new Map<string, Buffer>();
  readonly repositories = new Map<string, Repository>();
  /** What goes wrong; `times` counts the requests of a path before this one. */
  rule: Rule = () => undefined;
  bytesServed = 0;
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy()); // the other side has gone
  });

  static async open(): Promise<StandIn> {
    const standIn = new StandIn();
    await new Promise<void>((resolve) => standIn.#server.listen(0, "127.0.0.1", resolve));
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  asked(path: string): Asked[] {
    return this.log.filter((asked) => asked.path.startsWith(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path } = new URL(request.url ?? "", "http://x");
    const { range, authorization, host } = request.headers;
    const asked = { path, range, authorization, host };
    const times = this.asked(path).length;
    this.log.push(asked);
    const accident = this.rule(asked, times) ?? {};
    if (accident.isSilent) return;
    if (accident.redirect !== undefined) {
      response.writeHead(302, { location: accident.redirect }).end();
      return;
    }
    if (accident.status !== undefined) {
      response.writeHead(accident.status, accident.headers).end(accident.body ?? "");
      return;
    }
    const file = this.files.get(path);
    if (file !== undefined) await this.#serve(file, asked, accident, response);
    else this.#hub(path, response);
  }

  #hub(path: string, response: ServerResponse): void {
    const [, kind, id = "", rest = ""] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/
        .exec(path)
        ?.flatMap((x, i, all) => (i === 1 ? [all[2], x] : i === 2 ? [] : [x])) ?? [];
    const json = (value: unknown) => {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    const repository = this.repositories.get(id);
    if (kind !== undefined && repository !== undefined) {
      const { commit = "c0ffee", license, files } = repository;
      if (kind === "revision")
        json({
          _id: "1",
          id,
          sha: commit,
          tags: license ? [`license:${license}`] : [],
          cardData: license && { license },
        });
      else json(Object.entries(files).map(([name, bytes]) => entryOf(name, bytes)));
      return;
    }
    const [, owner = "", name = "", , ...steps] = path.split("/");
    const bytes = this.repositories.get(`${owner}/${name}`)?.files[decodeURIComponent(steps.slice(1).join("/"))];
    if (bytes === undefined || rest !== "") {
      response.writeHead(404, { "x-error-code": "RepoNotFound" }).end("not here");
      return;
    }
    const to = `/cdn/${sha256(bytes)}`;
    this.files.set(to, bytes);
    response.writeHead(302, { location: to }).end();
  }

  async #serve(file: Buffer, { range }: Asked, accident: Accident, response: ServerResponse): Promise<void> {
    const { breakAfter, stallAfter, shiftRange = 0, pauseMs, spoil = (bytes: Buffer) => bytes } = accident;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
    const isRange = first !== undefined && !accident.ignoreRange;
    const start = isRange ? Number(first) + shiftRange : 0;
    const end = isRange
      ? Math.min(file.length, last === "" || last === undefined ? file.length : Number(last) + shiftRange + 1)
      : file.length;
    if (start >= file.length && file.length > 0) {
      response.writeHead(416, { "content-range": `bytes */${file.length}` }).end();
      return;
    }
    const bytes = spoil(Buffer.from(file.subarray(start, end)));
    response.writeHead(isRange ? 206 : 200, {
      "content-length": String(bytes.length),
      etag: accident.etag ?? `"${sha256(file).slice(0, 16)}"`,
      ...(isRange && { "content-range": `bytes ${start}-${end - 1}/${accident.total ?? file.length}` }),
      ...accident.headers,
    });
    const most = Math.min(bytes.length, breakAfter ?? bytes.length, stallAfter ?? bytes.length);
    for (let at = 0; at < most; at += 16_384) {
      const piece = bytes.subarray(at, Math.min(most, at + 16_384));
      this.bytesServed += piece.length;
      if (!response.write(piece))
        await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      if (pauseMs !== undefined) await sleep(pauseMs);
      if (response.destroyed) return;
    }
    if (stallAfter !== undefined) return;
    if (breakAfter === undefined) response.end();
    else setTimeout(() => response.destroy(), 20); // what was written goes out first
  }
}

const entryOf = (path: string, bytes: Buffer) => ({
  type: "file",
  path,
  size: bytes.length,
  oid: gitHash(bytes),
  ...(bytes.length >= largeBytes && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }),
});
