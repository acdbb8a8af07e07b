// The items of a response as an answer's parts come, and the events that tell of them in the order that OpenAI's clients expect.
// A response that is answered whole is made by the same steps. It does not know requests or frames.
import type { ChatPart } from "../chat-parts.ts";
import type { HostToken } from "../host.ts";
import { chanceOf } from "./openai-answer.ts";

type Status = "in_progress" | "completed" | "incomplete";
type Chance = NonNullable<HostToken["chance"]>;

interface Text {
  readonly type: "output_text";
  text: string;
  readonly annotations: readonly never[];
  readonly logprobs: object[];
}
interface MessageItem {
  readonly id: string;
  readonly type: "message";
  readonly role: "assistant";
  status: Status;
  readonly content: Text[];
}
interface ReasoningItem {
  readonly id: string;
  readonly type: "reasoning";
  readonly summary: readonly never[];
  status: Status;
  readonly content: { readonly type: "reasoning_text"; text: string }[];
}
interface CallItem {
  readonly id: string;
  readonly type: "function_call";
  readonly call_id: string;
  readonly name: string;
  status: Status;
  arguments: string;
}
export type OutputItem = MessageItem | ReasoningItem | CallItem;

/** An event without its number. */
export type OutputEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

export class ResponseOutput {
  readonly items: OutputItem[] = [];
  readonly #unique: () => string;
  #open: OutputItem | undefined;
  /** Of tokens whose text has not come. */
  #chances: Chance[] = [];

  constructor(unique: () => string) {
    this.#unique = unique;
  }

  push(parts: readonly ChatPart[], chance?: Chance): OutputEvent[] {
    if (chance) this.#chances.push(chance);
    const events = parts.flatMap((part) => this.#push(part));
    // those of thinking and of calls belong to no text
    if (parts.some(({ kind }) => kind !== "text")) this.#chances = [];
    return events;
  }

  #push(part: ChatPart): OutputEvent[] {
    if (part.kind === "call") {
      const item: CallItem = {
        ...{ id: `fc_${this.#unique()}`, type: "function_call", status: "in_progress" },
        ...{ call_id: `call_${this.#unique()}`, name: part.name, arguments: "" },
      };
      return [...this.#close("completed"), ...this.#begin(item)];
    }
    if (part.kind === "arguments") {
      const item = this.#open as CallItem;
      item.arguments += part.text;
      return [{ type: "response.function_call_arguments.delta", ...this.#at(item), delta: part.text }];
    }
    if (part.kind === "reasoning") {
      const events = this.#open?.type === "reasoning" ? [] : this.#beginText("reasoning");
      const item = this.#open as ReasoningItem;
      const [content] = item.content;
      if (content) content.text += part.text;
      return [
        ...events,
        { type: "response.reasoning_text.delta", ...this.#at(item), content_index: 0, delta: part.text },
      ];
    }
    const events = this.#open?.type === "message" ? [] : this.#beginText("message");
    const item = this.#open as MessageItem;
    const logprobs = this.#chances.map(chanceOf);
    this.#chances = [];
    const content = item.content[0] as Text;
    content.text += part.text;
    content.logprobs.push(...logprobs);
    return [
      ...events,
      { type: "response.output_text.delta", ...this.#at(item), content_index: 0, delta: part.text, logprobs },
    ];
  }

  /** Ends what is open. An answer of nothing is an empty message. */
  end(isWhole: boolean): OutputEvent[] {
    const events = this.items.length === 0 ? this.#beginText("message") : [];
    return [...events, ...this.#close(isWhole ? "completed" : "incomplete")];
  }

  #at = ({ id }: OutputItem) => ({ item_id: id, output_index: this.items.length - 1 });

  #begin(item: OutputItem): OutputEvent[] {
    this.items.push(item);
    this.#open = item;
    return [{ type: "response.output_item.added", output_index: this.items.length - 1, item: structuredClone(item) }];
  }
  #beginText(type: "message" | "reasoning"): OutputEvent[] {
    const events = this.#close("completed");
    const common = { id: `${type === "message" ? "msg" : "rs"}_${this.#unique()}`, status: "in_progress" } as const;
    const item: MessageItem | ReasoningItem =
      type === "message"
        ? { ...common, type, role: "assistant", content: [] }
        : { ...common, type, summary: [], content: [] };
    events.push(...this.#begin(item));
    if (item.type === "message") item.content.push({ type: "output_text", text: "", annotations: [], logprobs: [] });
    else item.content.push({ type: "reasoning_text", text: "" });
    const part = structuredClone(item.content[0]);
    events.push({ type: "response.content_part.added", ...this.#at(item), content_index: 0, part });
    return events;
  }

  #close(status: Status): OutputEvent[] {
    const item = this.#open;
    if (item === undefined) return [];
    this.#open = undefined;
    const at = this.#at(item);
    item.status = status;
    const events: OutputEvent[] = [];
    if (item.type === "function_call") {
      const { name, arguments: text } = item;
      events.push({ type: "response.function_call_arguments.done", ...at, name, arguments: text });
    } else {
      const content = item.content[0] as Text | ReasoningItem["content"][number];
      const where = { ...at, content_index: 0 };
      if (content.type === "output_text") {
        const { text, logprobs } = content;
        events.push({ type: "response.output_text.done", ...where, text, logprobs: [...logprobs] });
      } else events.push({ type: "response.reasoning_text.done", ...where, text: content.text });
      events.push({ type: "response.content_part.done", ...where, part: structuredClone(content) });
    }
    events.push({
      type: "response.output_item.done",
      output_index: at.output_index,
      item: structuredClone(item),
    });
    return events;
  }
}
