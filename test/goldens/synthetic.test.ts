// The models that tests make on the spot do what they promise, by the float64 decoder.

import t from "tap";

import { convertModel } from "../helpers/model-folder.js";
import { families } from "../helpers/paths.js";
import { randomModel, scriptedModel } from "../helpers/synthetic.js";
import { loadReference, referenceGreedy, referenceLogits } from "../reference/opt.js";

t.test("a scripted model writes its scripts", (t) => {
  const scripts = [[10, 11, 12, 2, 399], [7], [300, 300, 300, 301]];
  const { folder, prompts } = scriptedModel(t, { scripts, vocab: 400 });
  const model = loadReference(folder);
  scripts.forEach((script, k) => {
    t.same(referenceGreedy(model, prompts[k] as number[], script.length).ids, script);
  });
  t.end();
});

t.test("a random model has logits that differ enough to choose from", (t) => {
  const model = loadReference(randomModel(t, { positions: 32 }));
  const [row] = referenceLogits(model, [5]);
  const sorted = [...(row as Float64Array)].sort((a, b) => b - a);
  t.ok((sorted[0] as number) - (sorted[399] as number) > 1);
  t.end();
});

t.test("widening to float32 changes no number, rounding to bfloat16 changes most", (t) => {
  const stored = loadReference(families.opt).weights;
  const wide = loadReference(convertModel(t, families.opt, "f32")).weights;
  const rounded = loadReference(convertModel(t, families.opt, "bf16")).weights;
  const name = "decoder.layers.1.fc1.weight";
  t.same(wide.get(name), stored.get(name));
  const pairs = [...(stored.get(name) ?? [])].map((value, i) => [value, rounded.get(name)?.[i] ?? NaN] as const);
  t.ok(pairs.filter(([a, b]) => a !== b).length > pairs.length / 2);
  t.ok(pairs.every(([a, b]) => Math.abs(a - b) <= Math.abs(a) / 256 + 1e-30), "by half a unit in the last place at most");
  t.end();
});
