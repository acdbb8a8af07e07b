// The text of an HTML page, block by block, each with its place in the source. Scripts, styles and what is hidden are no text.
// It does not know files.
import { Parser } from "htmlparser2";
import { piecesOf } from "../sentences.ts";
import type { Passage } from "./passage.ts";

const SILENT = new Set(["script", "style", "template", "noscript", "svg", "iframe", "head"]);
const BLOCKS = new Set(
  (
    "p div section article main header footer aside nav li ul ol table tr td th h1 h2 h3 h4 h5 h6 blockquote pre figure figcaption " +
    "dl dt dd form br hr body html"
  ).split(" "),
);

export function htmlPassages(html: string): Passage[] {
  const passages: Passage[] = [];
  let title: string | undefined;
  let block = { text: "", start: -1, end: -1 };
  const open: { readonly name: string; readonly isSilent: boolean }[] = [];
  const close = () => {
    const text = block.text.replace(/\s+/g, " ").trim();
    // positions are those of the whole block: tags inside make its text shorter
    for (const piece of text === "" ? [] : piecesOf(text))
      passages.push({ text: piece.text, start: block.start, end: block.end, title });
    block = { text: "", start: -1, end: -1 };
  };
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (BLOCKS.has(name)) close();
        open.push({ name, isSilent: SILENT.has(name) || "hidden" in attributes });
      },
      ontext(text) {
        if (open.at(-1)?.name === "title") title = `${title ?? ""}${text}`.trim();
        else if (!open.some(({ isSilent }) => isSilent)) {
          if (block.start < 0) block.start = parser.startIndex;
          block.end = parser.endIndex + 1;
          block.text += text;
        }
      },
      onclosetag(name) {
        if (BLOCKS.has(name)) close();
        open.pop();
      },
    },
    { decodeEntities: true },
  );
  parser.end(html);
  close();
  return passages;
}
