// One answer of a chat as parts a client can use: what it thinks, what it says, what it calls.
// It does not know APIs.
import type { ModelFacts } from "./host.ts";
import { ReasoningSplit, type Said } from "./reasoning.ts";
import { ToolCalls, type ToolPart, toolStyleOf } from "./tool-calls.ts";

export type ChatPart = { readonly kind: "reasoning"; readonly text: string } | ToolPart;

export class ChatParts {
  readonly #reasoning: ReasoningSplit | undefined;
  readonly #calls: ToolCalls | undefined;

  constructor(
    { chatTemplate }: Pick<ModelFacts, "chatTemplate">,
    tail: string,
    { tools, isFormatted }: { readonly tools: readonly string[]; readonly isFormatted: boolean },
  ) {
    // what a grammar holds to JSON thinks nothing
    this.#reasoning = isFormatted ? undefined : new ReasoningSplit(tail);
    this.#calls = tools.length > 0 ? new ToolCalls(isFormatted ? "json" : toolStyleOf(chatTemplate), tools) : undefined;
  }

  get stage(): ReasoningSplit["stage"] {
    return this.#reasoning?.stage ?? "said";
  }
  get calls(): number {
    return this.#calls?.count ?? 0;
  }

  push(text: string): ChatPart[] {
    return this.#called(this.#reasoning ? this.#reasoning.push(text) : [{ kind: "text", text }]);
  }
  end(): ChatPart[] {
    return [...this.#called(this.#reasoning?.end() ?? []), ...(this.#calls?.end() ?? [])];
  }

  #called(said: readonly Said[]): ChatPart[] {
    return said.flatMap(({ kind, text }): ChatPart[] => {
      if (text === "") return [];
      if (kind === "reasoning") return [{ kind: "reasoning", text }];
      return this.#calls ? this.#calls.push(text) : [{ kind: "text", text }];
    });
  }
}
