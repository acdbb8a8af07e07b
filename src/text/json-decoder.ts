// The decoders and post-processors of a tokenizer.json: what entries become in a text, and what stands around texts.
// It does not know how text is encoded.
import { z } from "zod";
import { flatten, isSet, type Part, parse, readPart, unsupported } from "./json-part.ts";
import type { DecodeStart, DecodeStep, Frame, FrameSlot } from "./parts.ts";

export interface Decoding {
  readonly decoder: readonly DecodeStep[];
  readonly decodeStart: DecodeStart | undefined;
}

const nameIn = (node: Part): string => `the ${node.type} in tokenizer.json`;
/** "All of them": JSON knows no infinity. */
const all = Number.MAX_SAFE_INTEGER;

const wordPieceShape = z.object({ prefix: z.string().default("##"), cleanup: z.boolean().default(true) });
const metaspaceShape = z.object({
  replacement: z.string().default("▁"),
  prepend_scheme: z.enum(["always", "first", "never"]).optional(),
  add_prefix_space: z.boolean().optional(),
});
const replaceShape = z.object({ pattern: z.object({ String: z.string() }), content: z.string() });
const stripShape = z.object({ content: z.literal(" "), start: z.int().nonnegative(), stop: z.literal(0) });

interface Decoder {
  readonly steps?: readonly DecodeStep[];
  readonly start?: DecodeStart;
}
const decoders: Readonly<Record<string, (node: Part) => Decoder>> = {
  WordPiece: (node) => {
    const { prefix, cleanup } = parse(wordPieceShape, node, nameIn(node));
    const tidy: DecodeStep[] = cleanup ? [{ kind: "tidy" }] : [];
    return { steps: [{ kind: "space-before", unless: prefix }, ...tidy], start: { most: 1, of: "token" } };
  },
  Metaspace: (node) => {
    const { replacement, prepend_scheme, add_prefix_space } = parse(metaspaceShape, node, nameIn(node));
    const isNever = (prepend_scheme ?? (add_prefix_space === false ? "never" : "always")) === "never";
    const steps: DecodeStep[] = [{ kind: "replace", from: replacement, to: " " }];
    return isNever ? { steps } : { steps, start: { most: all, of: "token" } };
  },
  Replace: (node) => {
    const { pattern, content } = parse(replaceShape, node, nameIn(node));
    return { steps: [{ kind: "replace", from: pattern.String, to: content }] };
  },
  ByteFallback: () => ({ steps: [{ kind: "bytes" }] }),
  Fuse: () => ({}),
  Strip: (node) => ({ start: { most: parse(stripShape, node, nameIn(node)).start, of: "text" } }),
};

/** Of a model whose entries are characters; steps after a Fuse see the whole text, those before it single entries. */
export function decodingOf(node: Part | null | undefined): Decoding {
  const nodes = flatten(node, "decoders");
  if (nodes.length === 0)
    return { decoder: [{ kind: "space-before", unless: undefined }], decodeStart: { most: 1, of: "token" } };
  const fuse = nodes.findIndex(({ type }) => type === "Fuse");
  const isInOrder = nodes.every(({ type }, i) => type === "Fuse" || (type === "Strip") === (fuse >= 0 && i > fuse));
  if (!isInOrder)
    throw unsupported(
      "a decoder",
      JSON.stringify(nodes.map(({ type }) => type)),
      "a Strip after the Fuse, all else before it",
    );
  const read = nodes.map((each) => readPart(decoders, each, "a decoder"));
  return {
    decoder: read.flatMap(({ steps = [] }) => steps),
    decodeStart: read.find(({ start }) => start !== undefined)?.start,
  };
}

const specialShape = z.object({ SpecialToken: z.object({ id: z.string(), type_id: z.int().nonnegative() }) });
const sequenceShape = z.object({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: z.int().nonnegative() }) });
const slots = z.array(z.union([specialShape, sequenceShape]));
const templateShape = z.object({
  single: slots,
  pair: slots.default([{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }]),
  special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int().nonnegative()) })),
});
const token = z.tuple([z.string(), z.int().nonnegative()]);
const aroundShape = z.object({ cls: token, sep: token, add_special_tokens: isSet });

const frames: Readonly<Record<string, (node: Part) => Frame | undefined>> = {
  ByteLevel: () => undefined,
  BertProcessing: (node) => {
    const { cls, sep } = parse(aroundShape, node, nameIn(node));
    const [first, last] = [slot(cls[1], 0), slot(sep[1], 0)];
    const single: FrameSlot[] = [first, { text: 0, type: 0 }, last];
    return { single, pair: [...single, { text: 1, type: 1 }, slot(sep[1], 1)] };
  },
  RobertaProcessing: (node) => {
    const { cls, sep } = parse(aroundShape, node, nameIn(node));
    const [first, last] = [slot(cls[1], 0), slot(sep[1], 0)];
    const single: FrameSlot[] = [first, { text: 0, type: 0 }, last];
    return { single, pair: [...single, last, { text: 1, type: 0 }, last] };
  },
  TemplateProcessing: (node) => {
    const { single, pair, special_tokens } = parse(templateShape, node, nameIn(node));
    const read = (template: z.infer<typeof slots>): FrameSlot[] =>
      template.map((item) => {
        if ("Sequence" in item) return { text: item.Sequence.id === "A" ? 0 : 1, type: item.Sequence.type_id };
        const { id, type_id: type } = item.SpecialToken;
        const ids = Object.hasOwn(special_tokens, id) ? special_tokens[id]?.ids : undefined;
        if (ids !== undefined) return { ids, type };
        throw unsupported("a TemplateProcessing", `${JSON.stringify(id)} without an id`, "ids of all its tokens");
      });
    return { single: read(single), pair: read(pair) };
  },
};

const slot = (id: number, type: number): FrameSlot => ({ ids: [id], type });

/** What a post-processor puts around texts; undefined where it puts nothing. */
export function frameOf(node: Part | null | undefined): Frame | undefined {
  const found = flatten(node, "processors").flatMap((each) => readPart(frames, each, "a post-processor") ?? []);
  if (found.length > 1) throw unsupported("a post-processor", `${found.length} that add tokens`, "one");
  return found[0];
}
