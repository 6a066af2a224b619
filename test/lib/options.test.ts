import t from "tap";

import { checkDevice, chooseDevice } from "../../dist/devices.js";
import type { NativeAddon, NativeCudaDevice } from "../../dist/native.js";
import { checkConfigureOptions, checkLoadOptions, nativeEngineOptions, resolveSchedule } from "../../dist/load-options.js";
import { checkDecodeOptions, checkGenerateOptions, checkPrefillOptions, nativeGenerate } from "../../dist/options.js";
import { nearestName } from "../../dist/validate.js";
import type { ErrorCode } from "../../dist/errors.js";
import { errorOf } from "./fixtures.js";

const limits = { vocab: 100, endTokenIds: [2], maxSequences: 8, text: true };
const generate = (options?: unknown) => checkGenerateOptions(options, limits);

t.test("defaults of generation are those of the documentation", (t) => {
  t.match(generate(), {
    signal: undefined,
    priority: 0,
    deadlineMs: 0,
    onAbort: "throw",
    seed: undefined,
    promptLogprobs: -1,
    generate: {
      maxTokens: 128, minTokens: 0, temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, presencePenalty: 0,
      frequencyPenalty: 0, biasTokens: new Int32Array(0), stop: [], stopTokenIds: new Int32Array(0),
      endTokenIds: Int32Array.of(2), n: 1, logprobs: -1,
    },
  });
  t.same(generate({ maxTokens: undefined, stop: undefined }), generate());
  t.end();
});

t.test("options reach native code", (t) => {
  const settings = generate({
    maxTokens: 9, minTokens: 3, stop: "x", stopTokenIds: [7, 8], ignoreEos: true, seed: 2 ** 53 - 1, n: 2, logprobs: 1000,
    logitBias: { 5: -Infinity, 99: 1.5 }, promptLogprobs: 0,
  });
  const native = nativeGenerate(settings, 2 ** 53 - 1, 2);
  t.equal(native.maxTokens, 2, "cut to the room that is left");
  t.equal(native.minTokens, 2);
  t.equal(native.seed, 9007199254740991n);
  t.same([...native.endTokenIds], []);
  t.same([...native.stopTokenIds], [7, 8]);
  t.same([...native.biasTokens], [5, 99]);
  t.same([...native.biasValues], [-Infinity, 1.5]);
  t.equal(native.logprobs, 100, "no more than there are tokens");
  t.equal(settings.promptLogprobs, 0);
  const map = generate({ logitBias: new Map([[3, 0.5]]) });
  t.same([...map.generate.biasTokens], [3]);
  t.end();
});

t.test("bad generate options are refused, with name, expected and actual", async (t) => {
  const cases: [unknown, RegExp][] = [
    [7, /generate options: expected an object, got 7/],
    [null, /got null/],
    [[], /got an empty array/],
    [{ maxTokens: 0 }, /^maxTokens: expected an integer from 1 to \d+, got 0$/],
    [{ maxTokens: 1.5 }, /maxTokens/],
    [{ maxTokens: "10" }, /got "10"/],
    [{ maxTokens: null }, /got null/],
    [{ maxTokens: 5, minTokens: 6 }, /minTokens: expected an integer from 0 to 5, got 6/],
    [{ temperature: NaN }, /temperature: expected a finite number of at least 0, got NaN/],
    [{ temperature: -1 }, /temperature/],
    [{ temperature: Infinity }, /got Infinity/],
    [{ topK: -1 }, /topK/],
    [{ topP: 0 }, /topP: expected a finite number above 0 and of at most 1, got 0/],
    [{ topP: 1.1 }, /topP/],
    [{ minP: 2 }, /minP/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty/],
    [{ presencePenalty: "1" }, /presencePenalty/],
    [{ frequencyPenalty: NaN }, /frequencyPenalty/],
    [{ logitBias: [1] }, /logitBias: expected an object or a Map/],
    [{ logitBias: { 100: 1 } }, /logitBias: the key: expected a token id from 0 to 99, got 100/],
    [{ logitBias: { a: 1 } }, /got "a"/],
    [{ logitBias: { 1: NaN } }, /logitBias\[1\]/],
    [{ logitBias: { 1: Infinity } }, /logitBias\[1\]/],
    [{ stop: "" }, /stop\[0\]: expected a string that is not empty/],
    [{ stop: ["a", 1] }, /stop\[1\]/],
    [{ stop: 1 }, /stop/],
    [{ stopTokenIds: [100] }, /stopTokenIds\[0\]/],
    [{ stopTokenIds: 3 }, /stopTokenIds/],
    [{ ignoreEos: 1 }, /ignoreEos: expected true or false, got 1/],
    [{ seed: -1 }, /seed/],
    [{ seed: 2 ** 53 }, /seed/],
    [{ seed: 1n }, /got the BigInt 1n/],
    [{ n: 0 }, /n: expected an integer from 1 to 8, got 0/],
    [{ n: 9 }, /n: expected/],
    [{ logprobs: true }, /logprobs/],
    [{ promptLogprobs: -1 }, /promptLogprobs/],
    [{ priority: 0.5 }, /priority/],
    [{ deadlineMs: 0 }, /deadlineMs/],
    [{ signal: {} }, /signal: expected an AbortSignal, got an object/],
    [{ onAbort: "retrun" }, /onAbort: expected "throw" or "return", got "retrun": did you mean "return"\?/],
    [{ maxToken: 5 }, /unknown option "maxToken": did you mean maxTokens\?/],
    [{ max_tokens: 5 }, /did you mean maxTokens/],
    [{ xyz: 1 }, /unknown option "xyz": known are signal, priority/],
    [{ ["__proto__x"]: 1 }, /unknown option/],
  ];
  for (const [options, words] of cases) await errorOf(t, () => generate(options), "INVALID_OPTION", words);
  await errorOf(t, () => checkGenerateOptions({ stop: "x" }, { ...limits, text: false }), "INVALID_OPTION", /stop: .*no tokenizer\.json/);
  t.same(checkGenerateOptions({ stop: [] }, { ...limits, text: false }).generate.stop, []);
  await errorOf(t, () => checkDecodeOptions({ n: 2 }, limits), "INVALID_OPTION", /fork the sequence/);
  await errorOf(t, () => checkDecodeOptions({ promptLogprobs: 1 }, limits), "INVALID_OPTION", /unknown option/);
  await errorOf(t, () => checkPrefillOptions({ maxTokens: 1 }), "INVALID_OPTION", /unknown option/);
});

t.test("load options", async (t) => {
  t.match(checkLoadOptions({}), {
    schedule: "auto", partition: "auto", maxTokenGapMs: 250, maxBatchTokens: 512, maxSequences: 64, pageSize: 16, dtype: "auto",
    kvCacheType: "auto",
  });
  t.equal(checkLoadOptions({ maxTokenGapMs: Infinity }).maxTokenGapMs, Infinity);
  const cases: [unknown, ErrorCode, RegExp][] = [
    [{ device: "gpu" }, "INVALID_OPTION", /device: expected "auto", "cpu"/],
    [{ device: "cuda:x" }, "INVALID_OPTION", /device: expected/],
    [{ device: "virtual:h100" }, "DEVICE_UNAVAILABLE", /no virtual device/],
    [{ dtype: "q8_0" }, "INVALID_OPTION", /"auto", "f32", "f16" or "bf16"/],
    [{ dtype: "fp16" }, "INVALID_OPTION", /did you mean "f16"\?/],
    [{ kvCacheType: "f64" }, "INVALID_OPTION", /kvCacheType/],
    [{ schedule: "both" }, "INVALID_OPTION", /schedule/],
    [{ partition: "half" }, "INVALID_OPTION", /partition/],
    [{ prefillShare: 0 }, "INVALID_OPTION", /prefillShare: expected a finite number above 0 and below 1/],
    [{ prefillShare: 1 }, "INVALID_OPTION", /prefillShare/],
    [{ maxTokenGapMs: 0 }, "INVALID_OPTION", /maxTokenGapMs/],
    [{ maxTokenGapMs: NaN }, "INVALID_OPTION", /maxTokenGapMs/],
    [{ maxSequences: 0 }, "INVALID_OPTION", /maxSequences/],
    [{ maxBatchTokens: 0 }, "INVALID_OPTION", /maxBatchTokens/],
    [{ maxModelLen: 0 }, "INVALID_OPTION", /maxModelLen/],
    [{ pageSize: 17 }, "INVALID_OPTION", /multiple of 16/],
    [{ pageSize: 2048 }, "INVALID_OPTION", /pageSize/],
    [{ kvCacheBytes: -1 }, "INVALID_OPTION", /kvCacheBytes/],
    [{ threads: 0 }, "INVALID_OPTION", /threads/],
    [{ onProgress: 1 }, "INVALID_OPTION", /onProgress: expected a function/],
    [{ onLog: {} }, "INVALID_OPTION", /onLog/],
    [{ signal: 1 }, "INVALID_OPTION", /signal/],
    [{ prefixCaching: true }, "INVALID_OPTION", /unknown option "prefixCaching"/],
    [{ shedule: "split" }, "INVALID_OPTION", /did you mean schedule/],
  ];
  for (const [options, code, words] of cases) await errorOf(t, () => checkLoadOptions(options), code, words);
});

const cpu = (threads: number) => ({ device: "cpu", threads, maxSequences: 64 }) as const;

t.test('what "auto" decides follows from threads and maxTokenGapMs', (t) => {
  const settings = checkLoadOptions({});
  t.match(resolveSchedule(settings, cpu(2)), { asked: "auto", used: "split" });
  t.match(resolveSchedule(settings, cpu(1)), { asked: "auto", used: "chunked", why: /one thread/ });
  t.match(resolveSchedule(settings, { ...cpu(1), device: "cuda" }), { asked: "auto", used: "split", why: /two streams/ });
  t.match(resolveSchedule(checkLoadOptions({ maxTokenGapMs: Infinity }), cpu(8)), { used: "chunked", why: /throughput/ });
  t.match(resolveSchedule(checkLoadOptions({ schedule: "sequential" }), cpu(8)), { asked: "sequential", used: "sequential" });
  t.same(nativeEngineOptions(settings, cpu(2)), {
    schedule: "split", partition: null, prefillShare: null, maxSequences: 64, maxBatchTokens: 512,
  });
  t.end();
});

t.test("each partition divides one kind of device", async (t) => {
  for (const partition of ["mps", "green-context", "cta-quota", "priority"] as const) {
    const settings = checkLoadOptions({ partition });
    await errorOf(t, () => nativeEngineOptions(settings, cpu(2)), "DEVICE_UNAVAILABLE", /"cores", "none" or "auto"/);
    t.equal(nativeEngineOptions(settings, { ...cpu(2), device: "cuda" }).partition, partition);
  }
  const cores = checkLoadOptions({ partition: "cores" });
  t.equal(nativeEngineOptions(cores, cpu(2)).partition, "cores");
  await errorOf(t, () => nativeEngineOptions(cores, { ...cpu(2), device: "cuda" }), "DEVICE_UNAVAILABLE", /"green-context"/);
});

t.test("the device that is named is taken or refused, never replaced", async (t) => {
  const there = { ordinal: 1, reason: "", name: "GPU", arch: "sm_90", sms: 132, memoryBytes: 2, availableBytes: 1, driver: "13.0" };
  const broken = { ...there, ordinal: 0, reason: "it is too old" };
  const native = { name: "CPU", cores: 4, isa: "avx2", isas: ["avx2"], memoryBytes: 2, availableBytes: 1 };
  const addon = (cuda: NativeCudaDevice[]): NativeAddon => ({
    cpu: () => native,
    cuda: () => cuda,
    load() {
      throw new Error("nothing is loaded here");
    },
  });
  const choose = (device: string, cuda: NativeCudaDevice[]) => chooseDevice(checkDevice(device), addon(cuda));
  t.match(choose("cuda:1", [broken, there]), { kind: "cuda", id: "cuda:1" });
  t.match(choose("auto", [broken, there]), { kind: "cuda", id: "cuda:1", why: /cuda:1 is the first/ });
  t.match(choose("auto", [broken]), { kind: "cpu", id: "cpu", why: /cuda:0: it is too old/ });
  t.match(choose("cpu", [broken, there]), { kind: "cpu", why: '"cpu" was asked for' });
  await errorOf(t, () => choose("cuda", [broken, there]), "DEVICE_UNAVAILABLE", /"cuda:0" is not available: it is too old/);
  await errorOf(t, () => choose("cuda:7", [broken]), "DEVICE_UNAVAILABLE", /"cuda:7" is not available: it is too old/);
  await errorOf(t, () => choose("cuda:2", [there]), "DEVICE_UNAVAILABLE", /has 1 of them.*"cuda:0"/);
  await errorOf(t, () => choose("cuda:2", [broken, there]), "DEVICE_UNAVAILABLE", /has 2 of them.*"cuda:1"/);
});

t.test("configure changes what it names, and nothing else", async (t) => {
  const before = checkLoadOptions({ schedule: "split", prefillShare: 0.3 });
  const after = checkConfigureOptions({ maxBatchTokens: 64 }, before);
  t.match(after, { schedule: "split", prefillShare: 0.3, maxBatchTokens: 64 });
  await errorOf(t, () => checkConfigureOptions({ threads: 2 }, before), "INVALID_OPTION", /unknown option/);
});

t.test("a nearest name is one that was meant", (t) => {
  t.equal(nearestName("temprature", ["temperature", "topK"]), "temperature");
  t.equal(nearestName("topk", ["temperature", "topK"]), "topK");
  t.equal(nearestName("banana", ["temperature", "topK"]), undefined);
  t.equal(nearestName("x".repeat(100000), ["temperature"]), undefined);
  t.end();
});
