// A file's whole text: of pages and PDFs what a reader sees, of others every character. It does not know what becomes of it.
import { extname } from "node:path";
import { htmlPassages } from "./html.ts";
import { decodeText, type Passage } from "./passage.ts";
import { pdfPassages } from "./pdf.ts";

const joined = (passages: readonly Passage[]): string => passages.map(({ text }) => text).join("\n\n");

/** Throws "bad-file" for bytes that are no text. */
export async function readDocument(name: string, bytes: Uint8Array): Promise<string> {
  const kind = extname(name).toLowerCase();
  if (kind === ".html" || kind === ".htm") return joined(htmlPassages(decodeText(name, bytes)));
  if (kind === ".pdf") return joined(await pdfPassages(name, bytes));
  return decodeText(name, bytes);
}
