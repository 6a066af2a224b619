import t from "tap";

import { readConfig } from "../../dist/model/config.js";
import { planMemory, type PlanInput } from "../../dist/model/plan.js";
import { readFileSync } from "node:fs";
import { bundledModel } from "../helpers/paths.js";
import { errorOf } from "./fixtures.js";

const { family, model } = readConfig(readFileSync(`${bundledModel}/config.json`), "config.json");
const gib = 2 ** 30;
const plan = (change: Partial<PlanInput> = {}) =>
  planMemory({
    device: "cpu",
    model,
    tensors: family.tensors(model),
    storage: "f16",
    kvType: "f16",
    pageSize: 16,
    maxSequences: 64,
    maxBatchTokens: 512,
    maxModelLen: undefined,
    kvCacheBytes: undefined,
    availableBytes: 4 * gib,
    ...change,
  });

t.test("with room, the cache takes what the sequences can use", (t) => {
  const result = plan();
  t.equal(result.pageBytes, 2 * 4 * 256 * 16 * 2);
  t.equal(result.pages, 64 * 128);
  t.equal(result.maxModelLen, 2048);
  t.equal(result.fullSequences, 64);
  t.equal(result.totalBytes, result.weightBytes + result.kvBytes + result.activationBytes);
  t.ok(result.weightBytes > 9_400_000 && result.weightBytes < 9_600_000);
  t.equal(plan({ maxModelLen: 100 }).pages, 64 * 7);
  t.equal(plan({ kvType: "f32" }).kvBytes, 2 * result.kvBytes);
  t.end();
});

t.test("on CUDA activations have the weights' type, heads their kernel's width, and the cache most of what is left", (t) => {
  const onCpu = plan();
  const onCuda = plan({ device: "cuda" });
  t.equal(onCuda.pageBytes, onCpu.pageBytes, "head dim 64 has a kernel");
  const wide = plan({ device: "cuda", model: { ...model, headDim: 72 } });
  t.equal(wide.pageBytes, 2 * 4 * 4 * 80 * 16 * 2, "72 is kept as 80");
  const logits = 2 * 64 * model.vocab * 4;
  t.equal(onCuda.activationBytes - logits, (onCpu.activationBytes - logits) / 2);
  const need = onCuda.weightBytes + onCuda.activationBytes;
  const room = 100 * onCuda.pageBytes;
  t.equal(plan({ device: "cuda", availableBytes: need + room }).pages, 90);
  t.end();
});

t.test("with little room, half of what is left, and maxModelLen is what the cache holds", (t) => {
  const need = plan().weightBytes + plan().activationBytes;
  const pageBytes = plan().pageBytes;
  const result = plan({ availableBytes: need + 10 * pageBytes });
  t.equal(result.pages, 5);
  t.equal(result.maxModelLen, 80);
  t.equal(result.fullSequences, 1);
  t.end();
});

t.test("an explicit cache is taken as it is", (t) => {
  t.equal(plan({ kvCacheBytes: 1_000_000 }).pages, 15);
  t.equal(plan({ kvCacheBytes: 1_000_000 }).maxModelLen, 240);
  t.end();
});

t.test("what does not fit is refused with the numbers and the option to change", async (t) => {
  const need = plan().weightBytes + plan().activationBytes;
  await errorOf(t, () => plan({ availableBytes: 1000 }), "OUT_OF_MEMORY", /weights take 9\.\d MiB .* lower maxBatchTokens/);
  await errorOf(t, () => plan({ availableBytes: 1000, storage: "f32" }), "OUT_OF_MEMORY", /dtype: "f16"/);
  await errorOf(t, () => plan({ availableBytes: need + 1000 }), "OUT_OF_MEMORY", /set kvCacheBytes/);
  await errorOf(t, () => plan({ kvCacheBytes: 8 * gib }), "OUT_OF_MEMORY", /lower kvCacheBytes/);
  await errorOf(t, () => plan({ kvCacheBytes: 100 }), "OUT_OF_MEMORY", /holds no page: one page of 16 tokens takes 65536 bytes/);
  await errorOf(t, () => plan({ kvCacheBytes: 65536, maxModelLen: 17 }), "OUT_OF_MEMORY", /lower maxModelLen, raise kvCacheBytes/);
  await errorOf(t, () => plan({ maxModelLen: 2049 }), "INVALID_OPTION", /at most 2048/);
});
