// The arithmetic of confidence against the original's numbers, and where the original compounds, what it should have been.
import assert from "node:assert/strict";
import { test } from "node:test";
import { insightVectors } from "../../test/insight-vectors.ts";
import {
  AGEING,
  afterDoubt,
  afterUse,
  agedConfidence,
  isTooOld,
  mergedConfidence,
  priorityOf,
  splitConfidence,
  startConfidence,
} from "./confidence.ts";

const DAY = 86_400_000;
const near = (a: number, b: number, within = 1e-12) => assert.ok(Math.abs(a - b) <= within, `${a} is not ${b}`);

test("12: a new episode starts at .5, a contradiction at .4, an insight at .3; what is given is kept within .1 and 1", () => {
  const [plain, most, contradiction, , least, doubted] = insightVectors.episode_c_values;
  near(startConfidence("experience"), plain.c);
  near(startConfidence("experience", 2), most.c);
  near(startConfidence("contradiction"), contradiction.c);
  near(startConfidence("insight"), 0.3);
  near(startConfidence("experience", 0.05), least.c);
  near(afterDoubt(0.12), doubted.c);
  near(afterUse(0.95), 1);
  near(startConfidence("insight", 0.5), 0.5); // the original makes an explicit .5 of an insight .3
});

test("12: priority weighs recency, use, confidence and information as the original does", () => {
  for (const { c, age_days, access_count, information_gain, score } of insightVectors.episode_priority)
    near(
      priorityOf({ confidence: c, ageMs: age_days * DAY, uses: access_count, information: information_gain }),
      score,
    );
});

test("14: age takes .95 a day from the seventh on, once, however often it is asked; after 90 days an episode is too old", () => {
  const { before, after_one_call } = insightVectors.l2_aging;
  const once = Object.fromEntries(after_one_call);
  for (const [name, c] of before as [string, number][]) {
    const ageMs = Number(name.slice(3)) * DAY;
    assert.equal(isTooOld(ageMs), !Object.hasOwn(once, name) && ageMs > AGEING.untilDays * DAY, name);
    if (Object.hasOwn(once, name)) near(agedConfidence(c, ageMs), once[name], 5e-5);
  }
  near(agedConfidence(0.8, 17 * DAY), 0.479, 5e-5);
  near(agedConfidence(0.8, 17 * DAY), agedConfidence(0.8, 17 * DAY), 0);
});

test("13: merged texts weigh by their length, a part of a split text has nine tenths", () => {
  const { in: parts, out } = insightVectors.l2_merge;
  near(mergedConfidence(parts.map(([text, confidence]: [string, number]) => ({ text, confidence }))), out.c);
  near(splitConfidence(0.8), 0.72);
});
