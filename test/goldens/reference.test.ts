// The float64 decoder in test/reference is itself held to the goldens: only then may it judge the engine.

import t from "tap";

import { closeTo } from "../helpers/compare.js";
import { loadGolden } from "../helpers/golden.js";
import { familyNames } from "../helpers/paths.js";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../reference/half.js";
import { loadReference, referenceGreedy, referenceLogits } from "../reference/opt.js";

/** Goldens are stored in float32: half a unit in the last place, and float64's own rounding. */
const storedAsFloat32 = { abs: 1e-6, rel: 1.2e-7, std: 1e-6 };

const flatten = (rows: Float64Array[]): Float64Array => Float64Array.from(rows.flatMap((row) => [...row]));

for (const family of familyNames) {
  t.test(`the float64 decoder gives the goldens' logits and tokens: ${family}`, (t) => {
    const golden = loadGolden(family);
    const model = loadReference(golden.folder);
    for (const one of golden.cases) {
      const prompt = referenceLogits(model, one.promptIds).slice(one.logitsFrom);
      closeTo(t, flatten(prompt), one.logits, storedAsFloat32, `${one.name}, prompt`);
      const greedy = referenceGreedy(model, one.promptIds, one.greedyIds.length);
      t.same(greedy.ids, one.greedyIds, `${one.name}: the same greedy tokens`);
      closeTo(t, flatten(greedy.logits), one.stepLogits, storedAsFloat32, `${one.name}, steps`);
    }
    t.equal(golden.cases.length, 9, "all nine prompt lengths were compared");
    t.end();
  });
}

t.test("every float16 survives the way to a number and back", (t) => {
  let wrong = 0;
  for (let bits = 0; bits < 0x7c00; ++bits) {
    if (numberToF16(f16ToNumber(bits)) !== bits) wrong += 1;
    if (numberToF16(f16ToNumber(bits | 0x8000)) !== (bits | 0x8000)) wrong += 1;
  }
  t.equal(wrong, 0);
  t.equal(f16ToNumber(0x3555), 0.333251953125, "a third");
  t.equal(f16ToNumber(0x0001), 2 ** -24, "the smallest subnormal");
  t.equal(f16ToNumber(0x7bff), 65504, "the largest");
  t.equal(numberToF16(1 + 2 ** -11), 0x3c00, "ties go to even, down");
  t.equal(numberToF16(1 + 3 * 2 ** -11), 0x3c02, "ties go to even, up");
  t.end();
});

t.test("every bfloat16 survives the way to a number and back", (t) => {
  let wrong = 0;
  for (let bits = 0; bits < 0x7f80; ++bits) if (numberToBf16(bf16ToNumber(bits)) !== bits) wrong += 1;
  t.equal(wrong, 0);
  t.equal(bf16ToNumber(0x3f80), 1);
  t.equal(numberToBf16(1 + 2 ** -8), 0x3f80, "ties go to even, down");
  t.equal(numberToBf16(1 + 3 * 2 ** -8), 0x3f82, "ties go to even, up");
  t.equal(numberToBf16(1 + 2 ** -8 + 2 ** -20), 0x3f81, "past the middle goes up");
  t.end();
});
