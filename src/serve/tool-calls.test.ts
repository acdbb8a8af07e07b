// Calls and reasoning in texts of each family, cut at every place: the parts are the same however the text comes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReasoningSplit } from "./reasoning.ts";
import { ToolCalls, type ToolStyle } from "./tool-calls.ts";

interface Read {
  text: string;
  calls: { name: string; arguments: string }[];
}

function read(style: ToolStyle, pieces: readonly string[]): Read {
  const calls = new ToolCalls(style, ["weather", "time"]);
  const all: Read = { text: "", calls: [] };
  for (const part of [...pieces.flatMap((piece) => calls.push(piece)), ...calls.end()]) {
    if (part.kind === "text") all.text += part.text;
    else if (part.kind === "call") all.calls[part.index] = { name: part.name, arguments: "" };
    else (all.calls[part.index] as { arguments: string }).arguments += part.text;
  }
  return all;
}

const paris = { name: "weather", arguments: '{"city": "Paris, \\"{la}\\""}' };
const now = { name: "time", arguments: "{}" };
const texts: readonly (readonly [ToolStyle, string, Read])[] = [
  [
    "hermes",
    `I look.\n<tool_call>\n{"name": "weather", "arguments": ${paris.arguments}}\n</tool_call>\n<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>`,
    { text: "I look.", calls: [paris, now] },
  ],
  ["llama", `<|python_tag|>{"name": "weather", "parameters": ${paris.arguments}}`, { text: "", calls: [paris] }],
  ["llama", `{"name": "weather", "parameters": ${paris.arguments}}`, { text: "", calls: [paris] }],
  [
    "mistral",
    `[TOOL_CALLS] [{"name": "weather", "arguments": ${paris.arguments}}, {"name": "time", "arguments": {}}]`,
    { text: "", calls: [paris, now] },
  ],
  ["mistral", `[TOOL_CALLS]weather[ARGS]${paris.arguments}`, { text: "", calls: [paris] }],
  ["gemma", `\`\`\`json\n{"name": "weather", "parameters": ${paris.arguments}}\n\`\`\``, { text: "", calls: [paris] }],
  [
    "gemma",
    '```tool_code\nprint(weather(city="Paris, \\"{la}\\"", days=[1, -2.5], now=True, why=None, at={"x": \'y\'}))\n```',
    {
      text: "",
      calls: [
        {
          name: "weather",
          arguments: '{"city":"Paris, \\"{la}\\"","days":[1,-2.5],"now":true,"why":null,"at":{"x":"y"}}',
        },
      ],
    },
  ],
  [
    "gemma",
    "I ask.\n```tool_code\nweather(city='Oslo')\ntime()\n```",
    { text: "I ask.", calls: [{ name: "weather", arguments: '{"city":"Oslo"}' }, now] },
  ],
  [
    "llama",
    "[weather(city='Rome'), time()]",
    { text: "", calls: [{ name: "weather", arguments: '{"city":"Rome"}' }, now] },
  ],
  ["llama", "[weather is fine]", { text: "[weather is fine]", calls: [] }],
  ["gemma", "```tool_code\nnobody(1)\n```", { text: "```tool_code\nnobody(1)\n```", calls: [] }],
  ["gemma", "```tool_code\nweather(Paris)\n```", { text: "```tool_code\nweather(Paris)\n```", calls: [] }],
  ["json", `{"arguments": {}, "name": "time"}`, { text: "", calls: [now] }],
  ["json", `{"name": "nobody", "arguments": {}}`, { text: `{"name": "nobody", "arguments": {}}`, calls: [] }],
  ["hermes", "No call, but a < b and <tool_cal", { text: "No call, but a < b and <tool_cal", calls: [] }],
];

test("calls of every family, however the text is cut", () => {
  for (const [style, text, expected] of texts) {
    assert.deepEqual(read(style, [text]), expected, `${style}: ${text}`);
    assert.deepEqual(read(style, [...text]), expected, `${style}, letter by letter: ${text}`);
    for (let cut = 1; cut < text.length; cut++)
      assert.deepEqual(
        read(style, [text.slice(0, cut), text.slice(cut)]),
        expected,
        `${style}, cut at ${cut}: ${text}`,
      );
  }
});

test("arguments are told while they come", () => {
  const calls = new ToolCalls("json", ["weather"]);
  assert.deepEqual(calls.push('{"name": "weather", "arguments": {"ci'), [
    { kind: "call", index: 0, name: "weather" },
    { kind: "arguments", index: 0, text: '{"ci' },
  ]);
});

function split(tail: string, pieces: readonly string[]): { text: string; reasoning: string } {
  const parts = new ReasoningSplit(tail);
  const all = { text: "", reasoning: "" };
  for (const { kind, text } of [...pieces.flatMap((piece) => parts.push(piece)), ...parts.end()]) all[kind] += text;
  return all;
}

test("thinking apart from what is said, however the text is cut", () => {
  for (const [tail, text, expected] of [
    ["", "<think>\nWhy? Because.</think>\n\nYes.", { reasoning: "Why? Because.", text: "Yes." }],
    ["<|assistant|><think>\n", "Why?</think>Yes.", { reasoning: "Why?", text: "Yes." }],
    ["", "[THINK]a[/THINK]b", { reasoning: "a", text: "b" }],
    ["", "a <think>b</think>", { reasoning: "", text: "a <think>b</think>" }],
    ["", "<think>never ends", { reasoning: "never ends", text: "" }],
  ] as const) {
    assert.deepEqual(split(tail, [text]), expected);
    assert.deepEqual(split(tail, [...text]), expected);
  }
});
