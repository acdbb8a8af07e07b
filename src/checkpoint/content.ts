// What a model's bytes are: one file, or the files of a folder, each by its name, length and hash.
// It does not know where they come from or where they lie.

import { createHash } from "node:crypto";

export interface ContentFile {
  /** "/" between folders; "" where the whole is one file. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Content {
  readonly layout: "file" | "folder";
  readonly files: readonly ContentFile[];
}

/** Equal for equal content: the hash of the one file, or that of the list of all. */
export function contentIdOf({ layout, files }: Content): string {
  const [only] = files;
  if (layout === "file" && only !== undefined) return only.sha256;
  const inOrder = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const list = inOrder.map(({ name, bytes, sha256 }) => `${name}\0${bytes}\0${sha256}`).join("\n");
  return createHash("sha256").update(list).digest("hex");
}

export const bytesOf = ({ files }: Pick<Content, "files">): number => files.reduce((sum, { bytes }) => sum + bytes, 0);
