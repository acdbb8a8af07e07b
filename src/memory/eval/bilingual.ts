// Things said in Japanese and in English, asked in the same language: is what was said among the first five?
// It does not know how recall works.
import { seededRandom } from "../../base/mod.ts";
import type { Embedder } from "../embedder.ts";
import { idMaker } from "../ids.ts";
import { openInMemory } from "../in-memory/store.ts";
import { Memory } from "../memory.ts";
import type { Way } from "../recall.ts";
import { type Experiment, table } from "./experiment.ts";

interface Asked {
  readonly id: string;
  readonly language: "ja" | "en";
  readonly said: string;
  readonly question: string;
}

const pairs: readonly (readonly [said: string, question: string])[] = [
  ["囲炉裏は日本の古い家の中央にある炉です。", "古い日本の家の炉は何といいますか。"],
  ["祖母は毎朝六時に味噌汁を作ります。", "祖母が味噌汁を作るのは何時ですか。"],
  ["山田さんは来週の火曜日に大阪へ出張します。", "山田さんはいつ出張に行きますか。"],
  ["駅前の本屋は木曜日が定休日です。", "本屋が休みなのは何曜日ですか。"],
  ["新しい会議室の鍵は受付の引き出しに入っています。", "会議室の鍵はどこにありますか。"],
  ["猫のミケは魚よりも鶏肉が好きです。", "ミケの好きな食べ物は何ですか。"],
  ["富士山の高さは三千七百七十六メートルです。", "富士山はどのくらい高いですか。"],
  ["父の誕生日は十一月二十五日です。", "お父さんの誕生日はいつですか。"],
  ["このプロジェクトではTypeScriptとSQLiteを使っています。", "プロジェクトで使っているデータベースは何ですか。"],
  ["田中先生の研究室は三階の一番奥です。", "田中先生の部屋は何階にありますか。"],
  ["雨の日は自転車ではなくバスで通勤します。", "雨が降ったらどうやって会社に行きますか。"],
  ["鍋の火を弱めてから豆腐を入れてください。", "豆腐はいつ鍋に入れますか。"],
  [
    "The irori is a sunken hearth in the middle of an old Japanese house.",
    "What is the hearth of an old Japanese house called?",
  ],
  ["My grandmother makes miso soup at six every morning.", "When does grandmother make soup?"],
  ["Mr Yamada travels to Osaka on Tuesday next week.", "When is Yamada going on his business trip to Osaka?"],
  ["The bookshop at the station is closed on Thursdays.", "On which day is the bookshop closed?"],
  ["The key of the new meeting room lies in the drawer of the reception.", "Where is the meeting room key?"],
  ["Mike the cat likes chicken better than fish.", "What food does the cat prefer?"],
  ["Mount Fuji is 3,776 metres high.", "How tall is Mount Fuji?"],
  ["Father's birthday is on the 25th of November.", "When is dad's birthday?"],
  ["This project uses TypeScript and SQLite.", "Which database does the project use?"],
  ["Professor Tanaka's office is at the far end of the third floor.", "On which floor is Tanaka's room?"],
  ["On rainy days I take the bus to work instead of the bicycle.", "How do I commute when it rains?"],
  ["Lower the flame under the pot before you put the tofu in.", "When does the tofu go into the pot?"],
];
/** Things said that nobody asks for, in both languages. */
const OTHERS = 200;
const japanese = [
  ["駅", "店", "庭", "川", "学校", "病院"],
  ["朝", "昼", "夜", "春", "夏", "冬"],
  ["静か", "賑やか", "寒い", "暖かい", "綺麗"],
];
const englishWords = [
  ["station", "shop", "garden", "river", "school", "clinic"],
  ["morning", "noon", "night", "spring", "summer", "winter"],
  ["quiet", "busy", "cold", "warm", "pretty"],
];

const WAYS: Readonly<Record<string, readonly Way[]>> = {
  hybrid: ["vector", "text", "knowledge"],
  vector: ["vector"],
  text: ["text"],
};
type Ranks = Readonly<Record<string, number | null>>;

export function bilingual(options: {
  readonly embedder: Embedder;
  readonly seed: number;
}): Experiment<Asked, { readonly language: string; readonly ranks: Ranks }> {
  const { embedder, seed } = options;
  let opened: Promise<Memory> | undefined;
  const open = async (): Promise<Memory> => {
    const random = seededRandom(seed);
    const pick = (list: readonly string[] | undefined) => list?.[Math.floor(random.next() * list.length)] as string;
    const store = openInMemory({ embedder, newId: idMaker(random) });
    const memory = new Memory({ store, embedder, random, now: () => 1_700_000_000_000 });
    const others = Array.from({ length: OTHERS }, (_, i) => {
      const [noun, time, how] = (i % 2 === 0 ? japanese : englishWords).map(pick) as [string, string, string];
      return i % 2 === 0
        ? `${noun}は${time}になると${how}です。${i}番。`
        : `The ${noun} is ${how} in the ${time}, number ${i}.`;
    });
    await memory.remember([...pairs.map(([said]) => said), ...others], { insight: false });
    return memory;
  };
  return {
    name: `Japanese and English recall (${embedder.id})`,
    config: { seed, embedder: embedder.id, questions: pairs.length, others: OTHERS },
    items: () =>
      pairs.map(([said, question], i) => ({
        id: `${i + 1}`,
        language: i < pairs.length / 2 ? "ja" : "en",
        said,
        question,
      })),
    async run({ said, question, language }) {
      opened ??= open();
      const memory = await opened;
      const ranks: Record<string, number | null> = {};
      for (const [name, by] of Object.entries(WAYS)) {
        const { recalled } = await memory.recall(question, { count: 5, by });
        const at = recalled.findIndex(({ episode }) => episode.text === said);
        ranks[name] = at < 0 ? null : at + 1;
      }
      return { language, ranks };
    },
    report(results) {
      const share = (language: string, way: string, most: number) => {
        const own = results.filter((one) => one.language === language);
        return own.filter(({ ranks }) => (ranks[way] ?? Infinity) <= most).length / own.length;
      };
      const rows = ["ja", "en"].flatMap((language) =>
        Object.keys(WAYS).map((way) => [language, way, share(language, way, 1), share(language, way, 5)]),
      );
      return table(["language", "by", "recall@1", "recall@5"], rows);
    },
  };
}
