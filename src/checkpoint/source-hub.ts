// A repository of a Hugging Face hub: what it holds, at which commit, under which licence and behind which gate. The only
// file that imports @huggingface/hub. It downloads nothing.

import type * as HubClient from "@huggingface/hub";
import { IroriError, nearest } from "../base/mod.ts";
import type { Http } from "./http.ts";
import type { HubFile } from "./hub-choice.ts";
import { quoted } from "./quoted.ts";
import type { HubSource } from "./source.ts";

export interface HubRepository {
  /** The commit that the files are of. */
  readonly commit: string;
  /** As its card says. */
  readonly license: string | undefined;
  readonly files: readonly HubFile[];
}

export interface HubRequest {
  readonly http: Http;
  readonly signal: AbortSignal;
  /** Names to think of where a repository is misspelt. */
  readonly known: readonly string[];
}

const idOf = ({ owner, name }: HubSource): string => `${owner}/${name}`;

/** Address of a file at a commit. */
export function hubFileUrl(
  { http }: Pick<HubRequest, "http">,
  source: HubSource,
  commit: string,
  path: string,
): string {
  const steps = path.split("/").map(encodeURIComponent).join("/");
  return `${http.network.hubEndpoint}/${idOf(source)}/resolve/${encodeURIComponent(commit)}/${steps}`;
}

export function hubHeaders({ http }: Pick<HubRequest, "http">): Record<string, string> {
  const { hubToken } = http.network;
  return hubToken === undefined ? {} : { authorization: `Bearer ${hubToken}` };
}

export async function readRepository(source: HubSource, request: HubRequest): Promise<HubRepository> {
  const hub = await import("@huggingface/hub");
  const { hubEndpoint: hubUrl } = request.http.network;
  // the client takes tokens of one spelling only: a hub of one's own may have others
  const common = { hubUrl, fetch: request.http.fetchFor(request.signal, hubHeaders(request)) };
  const revision = source.revision ?? "main";
  try {
    const info = await hub.modelInfo({
      ...common,
      name: idOf(source),
      revision,
      additionalFields: ["sha", "cardData", "tags"],
    });
    const commit = info.sha ?? revision;
    const files: HubFile[] = [];
    for await (const entry of hub.listFiles({ ...common, repo: idOf(source), revision: commit, recursive: true }))
      if (entry.type === "file") files.push(fileOf(entry));
    return { commit, license: licenseOf(info), files };
  } catch (error) {
    throw sentenceOf(hub, error, source, request);
  }
}

function fileOf({ path, size, oid, lfs }: HubClient.ListFileEntry): HubFile {
  return lfs ? { path, bytes: lfs.size, sha256: lfs.oid } : { path, bytes: size, gitHash: oid };
}

function licenseOf({
  cardData,
  tags,
}: {
  readonly cardData?: unknown;
  readonly tags?: readonly string[];
}): string | undefined {
  const card = (cardData ?? {}) as { license?: unknown; license_name?: unknown };
  const named = [card.license_name, card.license].find((each) => typeof each === "string" && each !== "other");
  return (named as string | undefined) ?? tags?.find((tag) => tag.startsWith("license:"))?.slice("license:".length);
}

/** The hub answers 401 for what does not exist as for what is private, and 403 for terms that were not accepted. */
function refusal(status: number, source: HubSource, { http, known }: HubRequest): IroriError | undefined {
  const id = idOf(source);
  const { hubEndpoint, hubToken } = http.network;
  const page = `${hubEndpoint}/${id}`;
  if (status === 403 || (status === 401 && hubToken !== undefined))
    return new IroriError("io", {
      what: `${id} is not for everybody`,
      got: status,
      next: `accept its terms at ${page} with the account of HF_TOKEN, or give another token`,
    });
  if (status !== 401 && status !== 404) return undefined;
  const near = nearest(source.name, known);
  const meant = near.length > 0 ? `; the catalog has ${near.join(", ")}` : "";
  return new IroriError("not-found", {
    what: `${quoted(id)} is no repository that ${new URL(hubEndpoint).host} shows${hubToken ? "" : " without a token"}`,
    got: status,
    next: `check its spelling${meant}; where it is private or gated, accept its terms at ${page} and set HF_TOKEN`,
  });
}

function sentenceOf(hub: typeof HubClient, error: unknown, source: HubSource, request: HubRequest): unknown {
  if (error instanceof IroriError) return error;
  const host = new URL(request.http.network.hubEndpoint).host;
  if (error instanceof hub.HubApiError) {
    const known = refusal(error.statusCode, source, request);
    if (known) return known;
    const next =
      error.statusCode === 429
        ? "wait a little and try again; a token in HF_TOKEN raises the limit"
        : "try again later";
    return new IroriError("io", {
      what: `${host} does not tell of ${idOf(source)}`,
      got: error.statusCode,
      next,
      cause: error,
    });
  }
  const got = (error as Error).message;
  return new IroriError("io", {
    what: `${host} answers something else about ${idOf(source)}`,
    got,
    next: "check HF_ENDPOINT",
    cause: error,
  });
}
