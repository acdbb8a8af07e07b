// JSON and JSONL as passages: lines of texts or messages, and the exports of ChatGPT, Claude and Slack.
// It does not know files.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";
import { piecesOf } from "../sentences.ts";
import type { Passage, Read, Refused } from "./passage.ts";

/** One remembered thing of any of the forms; the first form that fits decides. */
const time = z.union([z.number(), z.string()]).nullish();
const message = z.looseObject({ role: z.string(), content: z.string(), created_at: time, timestamp: time });
const plain = z.looseObject({
  text: z.string().optional(),
  content: z.string().optional(),
  body: z.string().optional(),
  title: z.string().nullish(),
  speaker: z.string().nullish(),
  user: z.string().nullish(),
  created_at: time,
  timestamp: time,
  ts: time,
});
const conversation = z.looseObject({ messages: z.array(message), title: z.string().nullish() });
const claude = z.looseObject({
  name: z.string().nullish(),
  chat_messages: z.array(z.looseObject({ sender: z.string(), text: z.string(), created_at: time })),
});
const chatgpt = z.looseObject({
  title: z.string().nullish(),
  mapping: z.record(
    z.string(),
    z.looseObject({
      message: z
        .looseObject({
          author: z.looseObject({ role: z.string() }),
          content: z.looseObject({ parts: z.array(z.unknown()).optional() }),
          create_time: z.number().nullish(),
        })
        .nullish(),
    }),
  ),
});

export function jsonlPassages(text: string): Read {
  const passages: Passage[] = [];
  const refused: Refused[] = [];
  let start = 0;
  for (const [i, line] of text.split("\n").entries()) {
    const end = start + line.length;
    if (line.trim() !== "") {
      const where = `line ${i + 1}`;
      try {
        const read = entryPassages(JSON.parse(line));
        if (read === undefined) refused.push({ where, reason: "no text, content, message or messages in it" });
        else for (const passage of read) passages.push({ ...passage, start, end });
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        refused.push({ where, reason: `no JSON: ${error.message}` });
      }
    }
    start = end + 1;
  }
  return { passages, refused };
}

/** Throws "bad-file" for what is no JSON. */
export function jsonPassages(name: string, text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new IroriError("bad-file", { what: `${name} is no JSON`, got: (error as Error).message, cause: error });
  }
  const entries = Array.isArray(value) ? value : [value];
  const passages: Passage[] = [];
  const refused: Refused[] = [];
  for (const [i, entry] of entries.entries()) {
    const read = entryPassages(entry);
    if (read === undefined)
      refused.push({ where: `entry ${i + 1}`, reason: "no text, content, message or messages in it" });
    else passages.push(...read);
  }
  return { passages, refused };
}

/** Undefined where none of the forms fits. */
function entryPassages(entry: unknown): Passage[] | undefined {
  if (typeof entry === "string") return cut({ text: entry });
  const fromChatgpt = chatgpt.safeParse(entry);
  if (fromChatgpt.success)
    return Object.values(fromChatgpt.data.mapping)
      .flatMap(({ message: one }) => (one ? [one] : []))
      .filter(({ author }) => author.role !== "system")
      .sort((a, b) => (a.create_time ?? 0) - (b.create_time ?? 0))
      .flatMap(({ author, content, create_time }) => {
        const text = (content.parts ?? []).filter((part) => typeof part === "string").join("\n");
        return cut({
          text,
          speaker: author.role,
          title: fromChatgpt.data.title ?? undefined,
          saidAt: momentOf(create_time),
        });
      });
  const fromClaude = claude.safeParse(entry);
  if (fromClaude.success)
    return fromClaude.data.chat_messages.flatMap(({ text, sender, created_at }) =>
      cut({ text, speaker: sender, title: fromClaude.data.name ?? undefined, saidAt: momentOf(created_at) }),
    );
  const fromConversation = conversation.safeParse(entry);
  if (fromConversation.success)
    return fromConversation.data.messages.flatMap(({ role, content, created_at, timestamp }) =>
      cut({
        text: content,
        speaker: role,
        title: fromConversation.data.title ?? undefined,
        saidAt: momentOf(created_at ?? timestamp),
      }),
    );
  const fromMessage = message.safeParse(entry);
  if (fromMessage.success) {
    const { role, content, created_at, timestamp } = fromMessage.data;
    return cut({ text: content, speaker: role, saidAt: momentOf(created_at ?? timestamp) });
  }
  const fromPlain = plain.safeParse(entry);
  if (!fromPlain.success) return undefined;
  const { text, content, body, title, speaker, user, created_at, timestamp, ts } = fromPlain.data;
  const said = text ?? content ?? body;
  if (said === undefined) return undefined;
  return cut({
    text: said,
    title: title ?? undefined,
    speaker: speaker ?? user ?? undefined,
    saidAt: momentOf(created_at ?? timestamp ?? ts),
  });
}

const cut = (passage: Passage): Passage[] => piecesOf(passage.text).map(({ text }) => ({ ...passage, text }));

/** Seconds or milliseconds since 1970, or what Date understands; undefined for what is no moment. */
function momentOf(value: number | string | null | undefined): number | undefined {
  if (value === null || value === undefined || value === "") return undefined;
  const number = Number(value);
  const moment = Number.isFinite(number)
    ? Math.abs(number) < 1e11
      ? number * 1000
      : number
    : Date.parse(String(value));
  return Number.isFinite(moment) ? Math.round(moment) : undefined;
}
