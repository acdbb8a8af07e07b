// `irori memory insights|why|bridge|discover`: what a memory noticed and why. It does not know how it is decided.
import type { ArgsDef } from "citty";
import type { Why } from "../../memory/mod.ts";
import type { Command } from "../command.ts";
import { columns, print, printJson } from "../output.ts";
import { memoryArgs, openMemory, scopeArgs, scopeOf } from "./open.ts";
import { insightOf, short } from "./tell.ts";

const limitArg = {
  limit: { type: "string", valueHint: "N", description: "How many at most (default 20)" },
} as const satisfies ArgsDef;

export const insights: Command = {
  args: { ...memoryArgs, ...limitArg, after: { type: "string", valueHint: "CURSOR", description: "The next page" } },
  async run(call) {
    const { args } = call;
    await using open = await openMemory(call, { mustExist: true });
    const limit = args.number("limit", { isWhole: true, min: 1, max: 1_000 }) ?? 20;
    const { items, next } = await open.memory.insights({ limit, after: args.text("after") });
    const texts = await open.store.getEpisodes(
      open.memory.namespace,
      items.map(({ episodeId }) => episodeId),
    );
    const all = items.map((spike, i) => ({ ...insightOf(spike), text: texts[i]?.text ?? "(removed since)" }));
    if (args.flag("json")) printJson({ insights: all, next });
    else if (all.length === 0) print("nothing has restructured this memory yet\n");
    else
      print(
        columns(
          all.map(({ id, at, gauge, p, text }) => [
            id,
            at.slice(0, 16),
            `F ${gauge.f.toFixed(3)}`,
            `p ${p.toFixed(3)}`,
            short(text, 70),
          ]),
        ),
      );
    return undefined;
  },
};

export const why: Command = {
  args: { id: { type: "positional", description: "An insight's id, or its episode's" }, ...memoryArgs },
  async run(call) {
    await using open = await openMemory(call, { mustExist: true });
    const found = await open.memory.why(call.args.needed("id"));
    if (call.args.flag("json")) printJson(whyOf(found));
    else print(whyText(found));
    return undefined;
  },
};

export function whyOf({ spike, isSame, text, joins, removed }: Why) {
  const { judgement } = spike;
  const { hasFired, falseAlarmRate, gauge, weakest, exchange, placement } = judgement;
  return {
    ...{ insight: insightOf(spike), text, isSame, joins, removed, hasFired, falseAlarmRate, gauge, weakest, placement },
    exchange: { p: exchange.p, draws: exchange.draws.length },
    episodes: judgement.neighbourhood.nodes
      .filter((ref) => ref.startsWith("episode:"))
      .map((ref) => ref.slice("episode:".length)),
  };
}

function whyText(why: Why): string {
  const { text, isSame, joins, removed, gauge, weakest, exchange, placement, falseAlarmRate, episodes } = whyOf(why);
  const number = (x: number) => x.toFixed(4);
  return `${text ?? "(the episode was removed since)"}

brings together
${joins.map(({ textA, textB, before, after }) => `  ${short(textA, 60)}\n  ${short(textB, 60)}\n    closeness ${before.toFixed(3)} before, ${after.toFixed(3)} after\n`).join("")}
F ${number(gauge.f)} = edit cost ${number(gauge.editCost)} - (information gain ${number(gauge.informationGain)} + 2 x path gain ${number(gauge.pathGain)})
entropy of the new links' places: ${number(gauge.entropyBefore)} before, ${number(gauge.entropyAfter)} after
without its strongest support F is ${number(weakest.f)}; among ${exchange.draws} other episodes so small a value has p ${number(exchange.p)}
${placement === undefined ? "its links had no other places to be compared with" : `at ${placement.draws} other places nearby p is ${number(placement.p)} (mean F there ${number(placement.mean)})`}; false-alarm rate ${falseAlarmRate}
evidence: ${episodes.length} episodes; reckoned again ${isSame ? "it gives the same bits" : "IT DIFFERS"}
${removed.length > 0 ? `removed since: ${removed.join(", ")}\n` : ""}`;
}

export const bridge: Command = {
  args: {
    from: { type: "positional", description: "One idea" },
    to: { type: "positional", description: "The other" },
    ...{ ...memoryArgs, ...scopeArgs },
    hops: { type: "string", valueHint: "N", description: "Links from either end that are followed (default 4)" },
  },
  async run(call) {
    const { args } = call;
    await using open = await openMemory(call, { mustExist: true });
    const hops = args.number("hops", { isWhole: true, min: 1, max: 10 });
    const found = await open.memory.bridge(args.needed("from"), args.needed("to"), {
      ...scopeOf(args),
      ...(hops !== undefined && { hops }),
    });
    if (args.flag("json")) printJson(found);
    else if (found.steps.length === 0)
      print(`no way from ${found.from} to ${found.to}${found.isWhole ? "" : " within the limits"}\n`);
    else
      print(
        found.steps
          .map(
            (step) =>
              `${step.link === undefined ? "" : `  | ${step.link.kind} ${step.link.weight.toFixed(2)}${step === found.weakest ? "  (the weakest link)" : ""}\n`}${short(step.text)}\n`,
          )
          .join(""),
      );
    return undefined;
  },
};

export const discover: Command = {
  args: { ...memoryArgs, ...limitArg },
  async run(call) {
    await using open = await openMemory(call, { mustExist: true });
    const found = await open.memory.discover(call.args.number("limit", { isWhole: true, min: 1, max: 1_000 }));
    if (call.args.flag("json")) printJson({ ideas: found });
    else if (found.length === 0) print("no idea holds several episodes together yet\n");
    else
      print(
        columns(
          found.map(({ idea, gain, episodes }) => [
            idea,
            `path gain ${gain.toFixed(3)}`,
            `${episodes.length} episodes`,
          ]),
        ),
      );
    return undefined;
  },
};
