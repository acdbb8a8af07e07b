// Whether an insight is one: texts whose effect is known (planted.ts) told to a memory one by one, each to the same
// background, and what the Trigger says of them beside what simpler rules say. It does not know how the Trigger decides.
import { seededRandom } from "../../base/mod.ts";
import { memorySettings } from "../../settings/mod.ts";
import type { Embedder } from "../embedder.ts";
import { idMaker } from "../ids.ts";
import { openInMemory } from "../in-memory/store.ts";
import { Memory } from "../memory.ts";
import { type Experiment, table } from "./experiment.ts";
import { auroc, interval, qualityOf } from "./measures.ts";
import { type Difficulty, GRID, INSIGHT_KINDS, OTHER_KINDS, type PlantedKind, PlantedWorld } from "./planted.ts";

interface World {
  readonly id: string;
  readonly seed: number;
  readonly difficulty: Difficulty;
}

interface Tried {
  readonly kind: PlantedKind | "null";
  readonly hasFired: boolean;
  /** Weakest F; absent where there was no judgement (a repeat, or linked with too little). */
  readonly f?: number | undefined;
  /** The larger of its two p-values. */
  readonly p?: number | undefined;
  /** Cosine with the most similar text that was known. */
  readonly top: number;
  /** Links that it got. */
  readonly degree: number;
}

export interface HonestyResult {
  readonly tried: readonly Tried[];
}

export interface HonestyOptions {
  readonly embedder: Embedder;
  /** The first world's; the others follow. */
  readonly seed: number;
  readonly falseAlarmRate?: number | undefined;
  /** Planted insights of each world, and as many others. Default 28. */
  readonly insights?: number | undefined;
  /** Texts of the other grammar in each world. Default 63: 1,008 over the grid. */
  readonly nulls?: number | undefined;
  readonly difficulties?: readonly Difficulty[] | undefined;
}

/** The original's rule by text: only what is very like something known is no insight. */
const NOVEL_BELOW = 0.7;

export function honesty(options: HonestyOptions): Experiment<World, HonestyResult> {
  const { embedder, seed, falseAlarmRate = 0.05, insights = 28, nulls = 63, difficulties = GRID } = options;
  return {
    name: `Insight honesty (${embedder.id})`,
    config: { seed, falseAlarmRate, insights, nulls, embedder: embedder.id, worlds: difficulties.length },
    items: () =>
      difficulties.map((difficulty, i) => ({ id: `world ${i}: ${told(difficulty)}`, seed: seed + i, difficulty })),
    async run({ seed, difficulty }) {
      const world = new PlantedWorld(seed, difficulty);
      await using held = await openWorld(embedder, seed, falseAlarmRate);
      const { memory } = held;
      await memory.remember(world.background(), { insight: false });
      await memory.maintain();
      const tried: Tried[] = [];
      for (let i = 0; i < 2 * insights; i++) {
        const kinds = i % 2 === 0 ? INSIGHT_KINDS : OTHER_KINDS;
        const { kind, text } = world.plant(kinds[(i >> 1) % kinds.length] as PlantedKind);
        tried.push({ kind, ...(await tryText(memory, text)) });
      }
      for (let i = 0; i < nulls; i++) tried.push({ kind: "null", ...(await tryText(memory, world.nullText())) });
      return { tried };
    },
    report: (results) => reportOf(results, falseAlarmRate),
  };
}

const told = ({ topics, factsPerTopic, ownNouns, strayShare }: Difficulty): string =>
  `${topics} topics of ${factsPerTopic}, ${ownNouns} + 2 nouns, ${strayShare * 100} % stray`;

interface OpenWorld extends AsyncDisposable {
  readonly memory: Memory;
}

async function openWorld(embedder: Embedder, seed: number, falseAlarmRate: number): Promise<OpenWorld> {
  const random = seededRandom(seed);
  let now = 1_700_000_000_000;
  const store = openInMemory({ embedder, newId: idMaker(random) });
  const settings = memorySettings("quick_experiment", { falseAlarmRate });
  const memory = new Memory({ store, embedder, random, now: () => (now += 1_000), settings });
  return { memory, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** Told, judged, and taken away again, so that each text meets the same background. */
async function tryText(memory: Memory, text: string): Promise<Omit<Tried, "kind">> {
  const { store, namespace, parts } = memory;
  const [vector] = (await parts.embedder.embed([text])) as [Float32Array];
  const [near = []] = await store.searchByVector(namespace, [vector], { count: 1 });
  const [one] = await memory.remember(text);
  const top = near[0]?.score ?? 0;
  if (one?.as !== "new") return { hasFired: false, top, degree: 0 };
  const record = await store.getRecord(namespace, "judgement", one.id);
  const { nodes } = await store.network(namespace, [`episode:${one.id}`], { hops: 1, mostNodes: 100 });
  await store.deleteEpisodes(namespace, [one.id]);
  const degree = nodes.length - 1;
  if (record === undefined) return { hasFired: false, top, degree };
  const { weakest, exchangeP, placementP } = record.body as {
    readonly weakest: number;
    readonly exchangeP: number;
    readonly placementP: number | null;
  };
  return { hasFired: one.spike !== undefined, f: weakest, p: Math.max(exchangeP, placementP ?? 0), top, degree };
}

function reportOf(results: readonly (HonestyResult & { readonly id: string })[], rate: number): string {
  const all = results.flatMap(({ tried }) => tried);
  const planted = all.filter(({ kind }) => kind !== "null");
  const isInsight = ({ kind }: Tried) => (INSIGHT_KINDS as readonly string[]).includes(kind);
  const row = (name: string, says: (one: Tried) => boolean, score: (one: Tried) => number) => {
    const { precision, recall } = qualityOf(planted.map((one) => ({ isPositive: isInsight(one), isSaid: says(one) })));
    const [positive, negative] = [true, false].map((kind) =>
      planted.filter((one) => isInsight(one) === kind).map(score),
    );
    return [name, precision, recall, auroc(positive as number[], negative as number[])];
  };
  const rarity = ({ f, p }: Tried) => (f === undefined || p === undefined ? -2 : f >= 0 ? -1 - f : -p);
  const nulls = all.filter(({ kind }) => kind === "null");
  const alarms = nulls.filter(({ hasFired }) => hasFired).length;
  const [low, high] = interval(alarms / nulls.length, nulls.length);
  const kinds = [...new Set(all.map(({ kind }) => kind))];
  const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
  return [
    `${planted.filter(isInsight).length} planted insights and as many others in ${results.length} worlds, then ${nulls.length} texts of another grammar that restructure nothing. False-alarm rate asked for: ${rate}.`,
    table(
      ["rule", "precision", "recall", "AUROC"],
      [
        row("Trigger", ({ hasFired }) => hasFired, rarity),
        row(
          "always true",
          () => true,
          () => 0,
        ),
        row(
          `unlike all that is known (cosine ≤ ${NOVEL_BELOW}, the original's rule by text)`,
          ({ top }) => top <= NOVEL_BELOW,
          ({ top }) => -top,
        ),
        row(
          "like what is known (cosine > .7)",
          ({ top }) => top > NOVEL_BELOW,
          ({ top }) => top,
        ),
        row(
          "many links (more than the median)",
          ({ degree }) => degree > 12,
          ({ degree }) => degree,
        ),
      ],
    ),
    `False alarms on null insertions: ${alarms} of ${nulls.length} = ${(alarms / nulls.length).toFixed(3)} (95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}).`,
    table(
      ["kind", "texts", "fired", "mean top cosine", "mean links"],
      kinds.map((kind) => {
        const own = all.filter((one) => one.kind === kind);
        const fired = own.filter(({ hasFired }) => hasFired).length / own.length;
        return [kind, own.length, fired, mean(own.map(({ top }) => top)), mean(own.map(({ degree }) => degree))];
      }),
    ),
    table(
      ["world", "precision", "recall", "false alarms"],
      results.map(({ id, tried }) => {
        const own = tried.filter(({ kind }) => kind !== "null");
        const { precision, recall } = qualityOf(
          own.map((one) => ({ isPositive: isInsight(one), isSaid: one.hasFired })),
        );
        const none = tried.filter(({ kind }) => kind === "null");
        return [id, precision, recall, none.filter(({ hasFired }) => hasFired).length / none.length];
      }),
    ),
  ].join("\n\n");
}
