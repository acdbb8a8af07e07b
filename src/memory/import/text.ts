// Plain text and Markdown as passages: cut at paragraphs and sentences, Markdown under its headings as well.
// It does not know files.
import { marked } from "marked";
import { piecesOf } from "../sentences.ts";
import type { Passage } from "./passage.ts";

export const textPassages = (text: string): Passage[] => piecesOf(text);

/** Sections by their headings; a passage's title is the way to it: "Fire > Winter". The text stays as it is written. */
export function markdownPassages(text: string): Passage[] {
  const passages: Passage[] = [];
  const headings: string[] = [];
  let start = 0;
  let at = 0;
  const close = (end: number) => {
    const title = headings.filter((heading) => heading !== undefined).join(" > ") || undefined;
    for (const piece of piecesOf(text.slice(start, end)))
      passages.push({ text: piece.text, start: start + piece.start, end: start + piece.end, title });
  };
  for (const token of marked.lexer(text)) {
    const found = text.indexOf(token.raw.trim(), at);
    if (found >= 0) at = found;
    if (token.type === "heading") {
      close(at);
      headings.length = token.depth - 1;
      headings[token.depth - 1] = token.text;
      start = at + token.raw.trim().length;
    }
    at += token.raw.trim().length;
  }
  close(text.length);
  return passages;
}
