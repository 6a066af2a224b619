// 16-bit KV caches, and bfloat16 weights: the references are the goldens and the float64 decoder on the rounded weights.

import t from "tap";

import {
  bf16CacheTolerance,
  closeTo,
  difference,
  f16CacheTolerance,
  float32Tolerance,
  sameBits,
  type Tolerance,
} from "../helpers/compare.js";
import { greedy, inTurn, load, schedules, within } from "../helpers/engine.js";
import { loadGolden } from "../helpers/golden.js";
import { convertModel, roundMatrices } from "../helpers/model-folder.js";
import { familyNames } from "../helpers/paths.js";
import { loadReference, referenceGreedy, referenceLogits } from "../reference/opt.js";

t.setTimeout(120_000);

const flatten = (rows: Float64Array[]): Float64Array => Float64Array.from(rows.flatMap((row) => [...row]));

for (const family of familyNames) {
  t.test(`${family}, f16 weights with the default cache: near the golden, the same greedy tokens`, async (t) => {
    const golden = loadGolden(family);
    const model = await load(t, golden.folder);
    const wide = await load(t, golden.folder, { kvCacheType: "f32" });
    for (const schedule of schedules) {
      await model.configure({ schedule, maxBatchTokens: 48 });
      const batch = await within(model.generate(golden.cases.map((one) => one.promptIds), greedy(24)), "a batch");
      await inTurn(golden.cases, async (one, i) => {
        const name = `${schedule} ${one.name}`;
        const { data } = await within(model.logits(one.promptIds), "logits");
        closeTo(t, data.subarray(one.logitsFrom * golden.vocab), one.logits, f16CacheTolerance, name);
        t.same([...(batch[i]?.tokenIds ?? [])], one.greedyIds, `${name}: greedy tokens`);
      });
    }
    const longest = golden.cases[golden.cases.length - 1]?.promptIds ?? [];
    const [narrow, full] = [await model.logits(longest), await wide.logits(longest)];
    t.ok(difference(narrow.data, full.data, f16CacheTolerance).worst > 0, "the cache really holds 16 bits by default");
  });

  const bf16Cases: { kvCacheType: "auto" | "f32"; tolerance: Tolerance }[] = [
    { kvCacheType: "f32", tolerance: float32Tolerance },
    { kvCacheType: "auto", tolerance: bf16CacheTolerance },
  ];
  t.test(`${family}, bf16 weights: near the float64 decoder on the same rounded weights`, async (t) => {
    const golden = loadGolden(family);
    const folder = convertModel(t, golden.folder, "bf16");
    const reference = loadReference(folder);
    const cases = golden.cases.filter((one) => one.promptIds.length <= 65);
    const wanted = cases.map((one) => flatten(referenceLogits(reference, one.promptIds)));
    const tokens = cases.map((one) => referenceGreedy(reference, one.promptIds, 12).ids);
    for (const { kvCacheType, tolerance } of bf16Cases) {
      const model = await load(t, folder, { kvCacheType });
      for (const schedule of schedules) {
        await model.configure({ schedule, maxBatchTokens: 48 });
        await inTurn(cases, async (one, i) => {
          const name = `cache ${kvCacheType}, ${schedule} ${one.name}`;
          const { data } = await within(model.logits(one.promptIds), "logits");
          closeTo(t, data, wanted[i] as Float64Array, tolerance, name);
          if (kvCacheType !== "f32") return;
          const result = await within(model.generate(one.promptIds, greedy(12)), "generate");
          t.same([...result.tokenIds], tokens[i], `${name}: greedy tokens`);
        });
      }
    }
  });

  t.test(`${family}, dtype rounds matrices at load: f16 files as bf16, f32 files as f16`, async (t) => {
    const golden = loadGolden(family);
    const ids = golden.cases[5]?.promptIds ?? [];
    const reference = loadReference(roundMatrices(t, golden.folder, "bf16"));
    const bf16 = await load(t, golden.folder, { kvCacheType: "f32", dtype: "bf16" });
    t.equal(bf16.config.dtype, "bf16");
    const { data } = await within(bf16.logits(ids), "logits");
    closeTo(t, data, flatten(referenceLogits(reference, ids)), float32Tolerance, "f16 files as bf16");

    // Every float16 survives the way to float32 and back.
    const wideFiles = convertModel(t, golden.folder, "f32");
    const f16 = await load(t, wideFiles, { kvCacheType: "f32", dtype: "f16" });
    const stored = await load(t, golden.folder, { kvCacheType: "f32" });
    t.equal(f16.config.dtype, "f16");
    sameBits(t, (await f16.logits(ids)).data, (await stored.logits(ids)).data, "f32 files as f16 are the f16 files");
  });
}
