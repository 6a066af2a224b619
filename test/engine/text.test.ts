// Text is made natively, token by token; the tokenizer's own decoder of the whole is what it is held to.

import t from "tap";

import { collect, greedy, inTurn, patience, within } from "../helpers/engine.js";
import { makeRandom } from "../helpers/random.js";
import { writesTexts, writesTokens } from "../helpers/scripted-text.js";

t.setTimeout(patience * 120_000);

const replacement = "\ufffd";

t.test("streamed text of any token ids equals the tokenizer's decoding of all of them", async (t) => {
  const random = makeRandom(11);
  const plain = Array.from({ length: 12 }, () => Array.from({ length: 60 }, () => random.between(3, 4095)));
  // Low ids of a byte-level vocabulary are single bytes: long runs of them are mostly invalid UTF-8.
  const bytes = Array.from({ length: 12 }, () => Array.from({ length: 60 }, () => random.between(3, 258)));
  const specials = [[500, 1, 501, 0, 502], [1, 1, 1], [0, 500]];
  const { model, prompts, scripts } = await writesTokens(t, [...plain, ...bytes, ...specials]);
  await inTurn(scripts, async (script, k) => {
    const stream = model.stream(prompts[k] as number[], greedy(script.length));
    const { text, result } = await within(collect(stream), "a stream");
    t.same([...result.tokenIds], script, `script ${k}: the tokens`);
    const decoded = await model.tokenizer.decode(script);
    t.equal(result.text, decoded, `script ${k}: the text of the result`);
    t.equal(text, decoded, `script ${k}: the streamed text`);
  });
});

t.test("a delta never shows half a character", async (t) => {
  const texts = ["a\u{1f600}b\u{1f44d}\u{1f3fd}c", "\u65e5\u672c\u8a9e\u306e\u30c6", "37\u00b0 \u00b5m \u20ac", "e\u0301\u{1f468}\u200d\u{1f469}"];
  const { model, prompts, scripts } = await writesTexts(t, texts);
  t.ok(scripts.every((script, k) => script.length > (texts[k] ?? "").length / 2), "characters span several tokens");
  await inTurn(texts, async (text, k) => {
    const options = greedy(scripts[k]?.length ?? 1);
    const { deltas, result } = await within(collect(model.stream(prompts[k] as number[], options)), "a stream");
    t.equal(deltas.map((delta) => delta.text).join(""), text);
    t.equal(result.text, text);
    t.notOk(deltas.some((delta) => delta.text.includes(replacement)), `no ${replacement} in ${JSON.stringify(text)}`);
  });
});

t.test("an output that ends in the middle of a character says so, as the tokenizer does", async (t) => {
  const { model, prompts, scripts } = await writesTexts(t, ["ok \u{1f9e0}"]);
  const script = scripts[0] as number[];
  await inTurn(script, async (_, i) => {
    const { text, result } = await collect(model.stream(prompts[0] as number[], greedy(i + 1)));
    const decoded = await model.tokenizer.decode(script.slice(0, i + 1));
    t.equal(result.text, decoded, `${i + 1} tokens`);
    t.equal(text, decoded, `${i + 1} tokens, streamed`);
  });
});
