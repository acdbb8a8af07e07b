// The text of a PDF, page by page. Loaded when a PDF is met. It does not know files.
import { IroriError } from "../../base/mod.ts";
import { piecesOf } from "../sentences.ts";
import type { Passage } from "./passage.ts";

/** Throws "bad-file" for what is no PDF, is damaged, or is locked by a password. */
export async function pdfPassages(name: string, bytes: Uint8Array): Promise<Passage[]> {
  const { extractText, getDocumentProxy } = await import("unpdf");
  try {
    const document = await getDocumentProxy(new Uint8Array(bytes)); // the library takes the bytes for its own
    const { text: pages } = await extractText(document, { mergePages: false });
    return pages.flatMap((page, i) => piecesOf(page).map((piece) => ({ ...piece, page: i + 1 })));
  } catch (error) {
    throw new IroriError("bad-file", {
      what: `${name} cannot be read as PDF`,
      got: (error as Error).message,
      cause: error,
    });
  }
}
