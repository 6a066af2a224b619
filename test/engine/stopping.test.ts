// When an output ends, and what of its text remains. The models write known text, so every expectation is exact.

import t, { type Test } from "tap";

import type { GenerateOptions } from "../../dist/index.js";
import { collect, inTurn, load, patience, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";
import { writesTexts, writesTokens, type Written } from "../helpers/scripted-text.js";

t.setTimeout(patience * 120_000);

const text = " no acute findings . the heart is mildly enlarged . no pneumothorax . small pleural effusion on the left";

/** Streams script 0 with the options; what streamed must equal the result. */
async function write(t: Test, { model, prompts, scripts }: Written, options: GenerateOptions) {
  const maxTokens = options.maxTokens ?? scripts[0]?.length ?? 1;
  const stream = model.stream(prompts[0] as number[], { ...options, maxTokens });
  const seen = await within(collect(stream), "a stream");
  t.equal(seen.text, seen.result.text, "the streamed text is the text of the result");
  t.same(seen.tokenIds, [...seen.result.tokenIds], "the streamed tokens are the tokens of the result");
  return seen.result;
}

t.test("a stop text ends the output wherever it lies across tokens, and is not part of the text", async (t) => {
  const written = await writesTexts(t, [text]);
  const whole = await write(t, written, {});
  t.equal(whole.text, text, "the model writes its script");
  t.equal(whole.finishReason, "length");
  t.equal(whole.stopReason, undefined);

  for (let from = 1; from + 9 <= text.length; from += 5) {
    for (const length of [1, 2, 9]) {
      const stop = text.slice(from, from + length);
      const result = await write(t, written, { stop: [stop] });
      t.equal(result.text, text.slice(0, text.indexOf(stop)), `the text ends before ${JSON.stringify(stop)}`);
      t.equal(result.finishReason, "stop");
      t.equal(result.stopReason, stop);
    }
  }
});

t.test("the output ends with the very token that completes the stop text", async (t) => {
  const written = await writesTexts(t, [text]);
  const script = written.scripts[0] as number[];
  const ends = await inTurn(script, async (_, i) => written.model.tokenizer.decode(script.slice(0, i + 1)));
  const stop = "mildly en";
  const needed = ends.findIndex((prefix) => prefix.includes(stop)) + 1;
  const result = await write(t, written, { stop });
  t.same([...result.tokenIds], script.slice(0, needed));
  t.equal(result.timing.itlMs.length, needed - 1, "no token was generated after it");
});

t.test("of several stop texts the first to be complete wins; parts of one that does not come are text", async (t) => {
  const written = await writesTexts(t, [text]);
  const first = await write(t, written, { stop: ["pneumothorax", "heart is", "left"] });
  t.equal(first.text, text.slice(0, text.indexOf("heart is")));
  t.equal(first.stopReason, "heart is");

  const nearly = ["findings !", "heart is mildly enlarged . no p!", "on the left side", "zzz"];
  const none = await write(t, written, { stop: nearly });
  t.equal(none.text, text, "text held back for a stop that does not come is given in the end");
  t.equal(none.finishReason, "length");

  const twice = await write(t, await writesTexts(t, [" aab aaab aaac"]), { stop: "aaac" });
  t.equal(twice.text, " aab aaab ", "a stop whose beginning repeats itself is found");
});

t.test("a stop text in the prompt does not count, one at the first token does", async (t) => {
  const written = await writesTexts(t, [text]);
  const at = (await written.model.tokenizer.decode(written.prompts[0] as number[])) || " ";
  t.equal((await write(t, written, { stop: `${at}${at}` })).text, text, "the prompt is not searched");
  const first = await write(t, written, { stop: text.slice(0, 2) });
  t.equal(first.text, "");
  t.equal(first.tokenIds.length, 1);
});

t.test("a stop text of characters of several bytes is found, and cut at a character", async (t) => {
  const written = await writesTexts(t, [" grad 37\u00b0 \u{1f600}\u{1f44d} \u65e5\u672c ende"]);
  const emoji = await write(t, written, { stop: "\u{1f44d}" });
  t.equal(emoji.text, " grad 37\u00b0 \u{1f600}");
  t.equal(emoji.stopReason, "\u{1f44d}");
  t.equal((await write(t, written, { stop: "\u672c" })).text, " grad 37\u00b0 \u{1f600}\u{1f44d} \u65e5");
});

t.test("an end token ends the output; ignoreEos and minTokens go past it", async (t) => {
  const script = [500, 501, 502, 2, 503, 504, 505, 506];
  const written = await writesTokens(t, [script]);
  const ended = await write(t, written, {});
  t.same([...ended.tokenIds], script.slice(0, 4), "the end token is the last token");
  t.equal(ended.finishReason, "stop");
  t.equal(ended.text, await written.model.tokenizer.decode(script.slice(0, 3)), "and no part of the text");

  const ignored = await write(t, written, { ignoreEos: true });
  t.same([...ignored.tokenIds], script);
  t.equal(ignored.finishReason, "length");

  const forced = await write(t, written, { minTokens: 4 });
  t.not(forced.tokenIds[3], 2, "the fourth token may not be an end token");
  t.same([...forced.tokenIds.slice(4)], script.slice(4), "the script goes on after it");
  const enough = await write(t, written, { minTokens: 3 });
  t.same([...enough.tokenIds], script.slice(0, 4), "after minTokens tokens an end token is drawn again");
});

t.test("stopTokenIds end the output and name the id, minTokens holds them off", async (t) => {
  const script = [500, 501, 502, 503, 504, 505];
  const written = await writesTokens(t, [script]);
  const result = await write(t, written, { stopTokenIds: [504, 502] });
  t.same([...result.tokenIds], [500, 501, 502]);
  t.equal(result.finishReason, "stop");
  t.equal(result.stopReason, 502);
  const later = await write(t, written, { stopTokenIds: [504, 502], minTokens: 3 });
  t.not(later.tokenIds[2], 502);
  t.equal(later.stopReason, 504);
  t.equal(later.tokenIds.length, 5);
  const both = await write(t, written, { stopTokenIds: [503], ignoreEos: true });
  t.equal(both.stopReason, 503, "ignoreEos is about the model's own end tokens only");
});

t.test("maxTokens ends the output, and is cut to what the model's length leaves", async (t) => {
  const model = await load(t, families.opt);
  t.equal(model.config.maxModelLen, 192);
  for (const schedule of schedules) {
    await model.configure({ schedule });
    for (const maxTokens of [1, 2, 17]) {
      const result = await model.generate(randomIds(1, 30), { maxTokens, ignoreEos: true });
      t.equal(result.tokenIds.length, maxTokens);
      t.equal(result.finishReason, "length");
    }
    for (const length of [150, 190, 191]) {
      const result = await model.generate(randomIds(2, length), { ignoreEos: true });
      t.equal(result.tokenIds.length, Math.min(192 - length, 128), `${schedule}: prompt of ${length} tokens`);
      t.equal(result.finishReason, "length");
    }
  }
});

t.test("without maxTokens an output has 128 tokens at most", async (t) => {
  const model = await load(t, families.opt);
  t.equal((await model.generate([5], { ignoreEos: true })).tokenIds.length, 128);
});
