// Wrong prompts and options: typed errors whose text says what was expected, what came and what to do; nothing else suffers.

import t, { type Test } from "tap";

import type { ErrorCode, GenerateOptions, Model, Prompt } from "../../dist/index.js";
import { allPagesFree, attempt, greedy, load, refusal } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(60_000);

/** What a program in plain JavaScript may pass; the types would not let it through. */
const loosely = <T>(value: unknown): T => value as T;

async function refuses(t: Test, name: string, call: () => unknown, code: ErrorCode, ...words: RegExp[]): Promise<void> {
  const error = await refusal(attempt(call), name);
  t.equal(error.code, code, `${name}: ${error.message}`);
  for (const word of words) t.match(error.message, word, `${name}: the message says it`);
}

t.test("a prompt that cannot be is refused by every way in", async (t) => {
  const model = await load(t, families.opt);
  const prompts: [name: string, prompt: unknown, code: ErrorCode, ...words: RegExp[]][] = [
    ["no token", [], "INVALID_OPTION", /empty/],
    ["no token, typed", new Uint32Array(), "INVALID_OPTION", /empty/],
    ["empty text", "", "INVALID_OPTION", /empty/],
    ["an id one too high", [5, 400], "INVALID_OPTION", /prompt\[1\]/, /0 to 399/, /400/],
    ["a huge id", [2 ** 40], "INVALID_OPTION", /0 to 399/],
    ["an id beyond 32 bits, typed", Uint32Array.of(4294967295), "INVALID_OPTION", /0 to 399/],
    ["a negative id", [3, 4, -1], "INVALID_OPTION", /prompt\[2\]/, /-1/],
    ["half an id", [1.5], "INVALID_OPTION", /1\.5/],
    ["NaN as id", [NaN], "INVALID_OPTION", /NaN/],
    ["a string as id", [5, "6"], "INVALID_OPTION", /prompt\[1\]/],
    ["a hole", [5, undefined, 6], "INVALID_OPTION", /prompt\[1\]/],
    ["null", null, "INVALID_OPTION", /null/],
    ["a number", 7, "INVALID_OPTION", /7/],
    ["nothing", undefined, "INVALID_OPTION", /undefined/],
    ["a prompt as long as the model", randomIds(1, 192), "PROMPT_TOO_LONG", /192/, /191|maxModelLen/],
    ["a prompt far too long", randomIds(1, 100_000), "PROMPT_TOO_LONG", /100000/, /shorten|maxModelLen/],
  ];
  for (const [name, prompt, code, ...words] of prompts) {
    const ids = loosely<number[]>(prompt);
    // An empty array is an empty batch, not an empty prompt, for generate alone.
    const batch = Array.isArray(prompt) && prompt.length === 0;
    if (!batch) await refuses(t, `generate, ${name}`, () => model.generate(ids), code, ...words);
    await refuses(t, `stream, ${name}`, () => model.stream(ids).result, code, ...words);
    const fits = code === "PROMPT_TOO_LONG" && ids.length <= 192;
    if (!fits) await refuses(t, `prefill, ${name}`, () => model.prefill(ids), code);
    if (!fits && typeof prompt !== "string") await refuses(t, `logits, ${name}`, () => model.logits(ids), code);
    if (!batch && prompt !== undefined) {
      await refuses(t, `batch, ${name}`, () => model.generate([[5, 6], ids]), code);
    }
  }
  t.equal((await model.logits(randomIds(1, 192))).data.length, 192 * 400, "logits of a prompt that fills the model are fine");
  await allPagesFree(t, model);
});

t.test("an option out of its range is refused by name, with the range and the value", async (t) => {
  const model = await load(t, families.opt);
  const options: [options: Record<string, unknown>, ...words: RegExp[]][] = [
    [{ temperature: NaN }, /temperature/, /NaN/],
    [{ temperature: -0.1 }, /temperature/, /0/],
    [{ temperature: Infinity }, /temperature/],
    [{ temperature: "1" }, /temperature/],
    [{ maxTokens: 0 }, /maxTokens/, /at least 1|from 1/, /got 0/],
    [{ maxTokens: -3 }, /maxTokens/],
    [{ maxTokens: 1.5 }, /maxTokens/, /integer/],
    [{ maxTokens: NaN }, /maxTokens/],
    [{ minTokens: -1 }, /minTokens/],
    [{ maxTokens: 4, minTokens: 5 }, /minTokens/, /4/],
    [{ topK: -1 }, /topK/],
    [{ topK: 0.5 }, /topK/],
    [{ topP: 0 }, /topP/],
    [{ topP: 1.01 }, /topP/],
    [{ topP: NaN }, /topP/],
    [{ minP: -0.1 }, /minP/],
    [{ minP: 2 }, /minP/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty/],
    [{ repetitionPenalty: NaN }, /repetitionPenalty/],
    [{ presencePenalty: NaN }, /presencePenalty/],
    [{ frequencyPenalty: Infinity }, /frequencyPenalty/],
    [{ logitBias: { 400: 1 } }, /logitBias/, /399/],
    [{ logitBias: { "-1": 1 } }, /logitBias/],
    [{ logitBias: { 5: NaN } }, /logitBias/],
    [{ logitBias: { five: 1 } }, /logitBias/, /five/],
    [{ logitBias: [1] }, /logitBias/],
    [{ stop: [""] }, /stop/, /empty/],
    [{ stop: [5] }, /stop/],
    [{ stop: 5 }, /stop/],
    [{ stopTokenIds: [400] }, /stopTokenIds/, /399/],
    [{ stopTokenIds: [-1] }, /stopTokenIds/],
    [{ stopTokenIds: 5 }, /stopTokenIds/],
    [{ ignoreEos: 1 }, /ignoreEos/, /true or false/],
    [{ seed: -1 }, /seed/],
    [{ seed: 0.5 }, /seed/],
    [{ seed: 2 ** 60 }, /seed/],
    [{ n: 0 }, /\bn\b/],
    [{ n: 1e9 }, /\bn\b/],
    [{ logprobs: -1 }, /logprobs/],
    [{ logprobs: true }, /logprobs/],
    [{ promptLogprobs: 0.5 }, /promptLogprobs/],
    [{ priority: 0.5 }, /priority/],
    [{ deadlineMs: 0 }, /deadlineMs/],
    [{ deadlineMs: NaN }, /deadlineMs/],
    [{ onAbort: "ignore" }, /onAbort/, /"throw" or "return"/],
    [{ signal: {} }, /signal/, /AbortSignal/],
    [{ maxToken: 5 }, /maxToken/, /did you mean maxTokens/],
    [{ temprature: 1 }, /temprature/, /did you mean temperature/],
    [{ somethingElse: 1 }, /somethingElse/, /known are/],
  ];
  for (const [option, ...words] of options) {
    const name = JSON.stringify(option, (_, value: unknown) => (Number.isNaN(value) ? "NaN" : value));
    const given = loosely<GenerateOptions>(option);
    await refuses(t, `generate ${name}`, () => model.generate([5, 6], given), "INVALID_OPTION", ...words);
    await refuses(t, `stream ${name}`, () => model.stream([5, 6], given).result, "INVALID_OPTION", ...words);
  }
  await refuses(t, "options as a number", () => model.generate([5], loosely<GenerateOptions>(5)), "INVALID_OPTION", /object/);
  await allPagesFree(t, model);
});

t.test("one bad prompt of a batch is named, and the model goes on", async (t) => {
  const model = await load(t, families.opt);
  const prompts = loosely<Prompt[]>([[5, 6], [7], [8, 9999]]);
  const error = await refusal(attempt(() => model.generate(loosely<number[][]>(prompts), greedy(2))));
  t.equal(error.code, "INVALID_OPTION");
  t.match(error.message, /9999/);
  t.equal((await model.generate([5, 6], greedy(2))).tokenIds.length, 2);
  await allPagesFree(t, model);
});

t.test("a folder without a tokenizer computes ids and refuses text with the remedy", async (t) => {
  const model = await load(t, families.opt);
  const result = await model.generate([5, 6, 7], greedy(3));
  t.equal(result.tokenIds.length, 3);
  t.equal(result.text, "", "there is no text without a tokenizer");
  const ways: [string, () => unknown][] = [
    ["generate", () => model.generate("text")],
    ["a batch", () => model.generate(["text"])],
    ["stream", () => model.stream("text").result],
    ["prefill", () => model.prefill("text")],
    ["encode", () => model.tokenizer.encode("text")],
    ["decode", () => model.tokenizer.decode([5])],
  ];
  for (const [name, call] of ways) await refuses(t, name, call, "INVALID_OPTION", /tokenizer\.json/, /ids|add/);
  await refuses(t, "a stop text", () => model.generate([5], { stop: "x" }), "INVALID_OPTION", /stop/, /tokenizer/);
});

t.test("a sequence refuses what it cannot do", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill(randomIds(2, 100));
  const never = (value: unknown): number => loosely<number>(value);
  for (const length of [-1, 101, 1.5, NaN, "5"]) {
    await refuses(t, `truncate ${String(length)}`, () => sequence.truncate(never(length)), "INVALID_OPTION", /length/);
  }
  await refuses(t, "append nothing", () => sequence.append([]), "INVALID_OPTION", /empty/);
  await refuses(t, "append a bad id", () => sequence.append([5, 400]), "INVALID_OPTION", /399/);
  await refuses(t, "append too much", () => sequence.append(randomIds(3, 93)), "PROMPT_TOO_LONG", /193/, /192/);
  await refuses(t, "decode n", () => sequence.decode(loosely({ n: 2 })).result, "INVALID_OPTION", /\bn\b/, /fork/);
  await refuses(t, "decode NaN", () => sequence.decode({ temperature: NaN }).result, "INVALID_OPTION", /temperature/);
  t.equal(sequence.length, 100, "it is as it was");
  t.equal((await sequence.decode(greedy(3)).result).tokenIds.length, 3, "and goes on");
  const busy = sequence.decode(greedy(50));
  await refuses(t, "fork while it decodes", () => sequence.fork(), "INVALID_OPTION", /busy|running/);
  await busy.result;
  await sequence.append(randomIds(3, 192 - sequence.length));
  await refuses(t, "decode when full", () => sequence.decode(greedy(1)).result, "PROMPT_TOO_LONG", /192/, /truncate|shorten/);
  await sequence.dispose();
  await allPagesFree(t, model);
});

/** Every way into a model. */
const waysIn = (model: Model): [string, () => unknown][] => [
  ["generate", () => model.generate([5])],
  ["a batch", () => model.generate([[5]])],
  ["stream", () => model.stream([5]).result],
  ["prefill", () => model.prefill([5])],
  ["logits", () => model.logits([5])],
  ["configure", () => model.configure({ schedule: "chunked" })],
];

t.test("every call on a disposed model is refused, and says what to do", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill([5, 6]);
  await model.dispose();
  await model.dispose();
  for (const [name, call] of waysIn(model)) await refuses(t, name, call, "DISPOSED", /disposed/, /load/);
  await refuses(t, "a sequence's decode", () => sequence.decode().result, "DISPOSED", /disposed/);
  await refuses(t, "a sequence's append", () => sequence.append([5]), "DISPOSED", /disposed/);
  await sequence.dispose();
  t.pass("and disposing of the sequence is no error");
});

t.test("configure refuses what it does not know, and changes nothing", async (t) => {
  const model = await load(t, families.opt, { schedule: "chunked" });
  const wrong: [options: Record<string, unknown>, code: ErrorCode, ...words: RegExp[]][] = [
    [{ schedule: "fast" }, "INVALID_OPTION", /schedule/, /"sequential"/],
    [{ schedule: "Split" }, "INVALID_OPTION", /did you mean "split"/],
    [{ prefillShare: 0 }, "INVALID_OPTION", /prefillShare/],
    [{ prefillShare: 1 }, "INVALID_OPTION", /prefillShare/],
    [{ prefillShare: NaN }, "INVALID_OPTION", /prefillShare/],
    [{ maxTokenGapMs: 0 }, "INVALID_OPTION", /maxTokenGapMs/],
    [{ maxBatchTokens: 0 }, "INVALID_OPTION", /maxBatchTokens/],
    [{ maxBatchTokens: 2.5 }, "INVALID_OPTION", /maxBatchTokens/],
    [{ partition: "mps" }, "DEVICE_UNAVAILABLE", /mps/, /CPU/, /cores/],
    [{ partition: "half" }, "INVALID_OPTION", /partition/],
    [{ threads: 4 }, "INVALID_OPTION", /threads/],
  ];
  for (const [options, code, ...words] of wrong) {
    await refuses(t, JSON.stringify(options), () => model.configure(loosely(options)), code, ...words);
  }
  t.equal(model.stats().schedule.used, "chunked");
  await refuses(t, "timeline", () => model.timeline({ steps: 0 }), "INVALID_OPTION", /steps/);
  await refuses(t, "saveTimeline", () => model.saveTimeline("no/such/folder/x.json"), "INVALID_OPTION", /no\/such\/folder/);
});
