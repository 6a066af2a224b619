// Wrong folders, damaged files, options that cannot be met: loading says why not and what to do, and leaves nothing behind.

import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import t, { type Test } from "tap";

import { devices, loadModel, type ErrorCode, type LoadOptions } from "../../dist/index.js";
import { attempt, greedy, load, refusal } from "../helpers/engine.js";
import { copyModel, editJson, temporaryFolder } from "../helpers/model-folder.js";
import { bundledModel, families } from "../helpers/paths.js";

t.setTimeout(60_000);

const loosely = <T>(value: unknown): T => value as T;

async function refusesToLoad(
  t: Test,
  name: string,
  source: unknown,
  options: unknown,
  code: ErrorCode,
  ...words: RegExp[]
): Promise<void> {
  const load = (): unknown => loadModel(loosely<string>(source), loosely<LoadOptions>(options));
  const error = await refusal(attempt(load), name);
  t.equal(error.code, code, `${name}: ${error.message}`);
  for (const word of words) t.match(error.message, word, `${name}: the message says it`);
}

/** A copy of the tiny OPT, damaged. */
function damaged(t: Test, damage: (folder: string) => void): string {
  const folder = copyModel(t, families.opt);
  damage(folder);
  return folder;
}

t.test("a source that is no model folder", async (t) => {
  const folder = temporaryFolder(t);
  const file = join(families.opt, "model.safetensors");
  await refusesToLoad(t, "a missing folder", join(folder, "nowhere"), {}, "MODEL_NOT_FOUND", /nowhere/, /config\.json/);
  await refusesToLoad(t, "an empty folder", folder, {}, "MODEL_NOT_FOUND", /config\.json/);
  await refusesToLoad(t, "a file", file, {}, "UNSUPPORTED_MODEL", /folder/);
  await refusesToLoad(t, "no source", undefined, {}, "INVALID_OPTION", /source/);
  await refusesToLoad(t, "an empty source", "", {}, "INVALID_OPTION", /source/);
  await refusesToLoad(t, "a number", 5, {}, "INVALID_OPTION", /source/);
});

t.test("a folder with files missing, damaged or of another kind", async (t) => {
  const weights = "model.safetensors";
  const cases: [name: string, damage: (folder: string) => void, code: ErrorCode, ...words: RegExp[]][] = [
    ["no weights", (at) => rmSync(join(at, weights)), "MODEL_NOT_FOUND", /model\.safetensors/],
    ["no config", (at) => rmSync(join(at, "config.json")), "MODEL_NOT_FOUND", /config\.json/],
    ["weights cut short", (at) => truncateSync(join(at, weights), 500_000), "CORRUPT_FILE", /model\.safetensors/],
    ["weights of 4 bytes", (at) => truncateSync(join(at, weights), 4), "CORRUPT_FILE", /model\.safetensors/, /bytes/],
    ["empty weights", (at) => truncateSync(join(at, weights), 0), "CORRUPT_FILE", /model\.safetensors/],
    ["noise as weights", (at) => writeFileSync(join(at, weights), Buffer.alloc(4096, 0x5a)), "CORRUPT_FILE", /model\.safetensors/],
    ["a folder as weights", (at) => (rmSync(join(at, weights)), mkdirSync(join(at, weights))), "CORRUPT_FILE", /model\.safetensors/],
    ["config that is no JSON", (at) => writeFileSync(join(at, "config.json"), "{ no"), "CORRUPT_FILE", /config\.json/],
    ["config that is a list", (at) => writeFileSync(join(at, "config.json"), "[1]"), "CORRUPT_FILE", /config\.json/],
    ["another family", (at) => editJson(join(at, "config.json"), { model_type: "mamba" }), "UNSUPPORTED_MODEL", /mamba/, /opt/],
    ["heads that do not divide", (at) => editJson(join(at, "config.json"), { num_attention_heads: 3 }), "CORRUPT_FILE", /head/],
    ["a negative size", (at) => editJson(join(at, "config.json"), { hidden_size: -128 }), "CORRUPT_FILE", /hidden_size/],
    ["another vocabulary", (at) => editJson(join(at, "config.json"), { vocab_size: 401 }), "CORRUPT_FILE", /embed_tokens/],
    ["more layers than weights", (at) => editJson(join(at, "config.json"), { num_hidden_layers: 3 }), "CORRUPT_FILE", /layers\.2/],
    ["a broken tokenizer", (at) => writeFileSync(join(at, "tokenizer.json"), "{}"), "CORRUPT_FILE", /tokenizer\.json/],
  ];
  for (const [name, damage, code, ...words] of cases) await refusesToLoad(t, name, damaged(t, damage), {}, code, ...words);
});

t.test("a file that this user may not read", async (t) => {
  if (process.getuid?.() === 0) {
    t.pass("the superuser may read everything");
    return;
  }
  const folder = damaged(t, (at) => chmodSync(join(at, "model.safetensors"), 0));
  await refusesToLoad(t, "unreadable weights", folder, {}, "MODEL_NOT_FOUND", /permission/);
});

t.test("weights that are cut while the model is loaded do not end the process", async (t) => {
  const folder = copyModel(t, families.opt);
  const model = await load(t, folder);
  const before = [...(await model.generate([5, 6], greedy(4))).tokenIds];
  // A program that writes models anew replaces the file, it does not write into it: the old one stays while it is mapped.
  rmSync(join(folder, "model.safetensors"));
  copyFileSync(join(families.opt, "model.safetensors"), join(folder, "model.safetensors"));
  t.same([...(await model.generate([5, 6], greedy(4))).tokenIds], before);
});

t.test("options that no model can be loaded with", async (t) => {
  const wrong: [options: Record<string, unknown>, code: ErrorCode, ...words: RegExp[]][] = [
    [{ device: "gpu" }, "INVALID_OPTION", /device/, /"cpu"/],
    [{ device: "cuda:4095" }, "DEVICE_UNAVAILABLE", /cuda:4095/],
    [{ device: "virtual:h100" }, "DEVICE_UNAVAILABLE", /virtual/],
    [{ dtype: "f8" }, "INVALID_OPTION", /dtype/, /"bf16"/],
    [{ kvCacheType: "int4" }, "INVALID_OPTION", /kvCacheType/],
    [{ schedule: "fast" }, "INVALID_OPTION", /schedule/],
    [{ pageSize: 0 }, "INVALID_OPTION", /pageSize/, /16/],
    [{ pageSize: 24 }, "INVALID_OPTION", /pageSize/, /multiple of 16/, /24/],
    [{ maxSequences: 0 }, "INVALID_OPTION", /maxSequences/],
    [{ maxBatchTokens: 0 }, "INVALID_OPTION", /maxBatchTokens/],
    [{ threads: 0 }, "INVALID_OPTION", /threads/],
    [{ threads: 1.5 }, "INVALID_OPTION", /threads/],
    [{ prefillShare: 1 }, "INVALID_OPTION", /prefillShare/],
    [{ maxModelLen: 0 }, "INVALID_OPTION", /maxModelLen/],
    [{ maxModelLen: 193 }, "INVALID_OPTION", /maxModelLen/, /192/, /193/],
    [{ maxModelLen: 2 ** 31 - 1 }, "INVALID_OPTION", /192/],
    [{ kvCacheBytes: 0 }, "INVALID_OPTION", /kvCacheBytes/],
    [{ kvCacheBytes: 1000 }, "OUT_OF_MEMORY", /1000/, /page/, /\d{4,}/],
    [{ kvCacheBytes: 2 ** 52 }, "OUT_OF_MEMORY", /kvCacheBytes/, /lower/],
    [{ kvCacheBytes: 100_000, kvCacheType: "f32", maxModelLen: 192 }, "OUT_OF_MEMORY", /192/, /maxModelLen|kvCacheBytes/],
    [{ signal: 5 }, "INVALID_OPTION", /signal/],
    [{ onProgress: 5 }, "INVALID_OPTION", /onProgress/],
    [{ kvCacheByte: 1e6 }, "INVALID_OPTION", /did you mean kvCacheBytes/],
    [{ prefixCaching: true }, "INVALID_OPTION", /prefixCaching/],
  ];
  for (const [options, code, ...words] of wrong) {
    await refusesToLoad(t, JSON.stringify(options), families.opt, options, code, ...words);
  }
  await refusesToLoad(t, "options as text", families.opt, "cpu", "INVALID_OPTION", /object/);
});

t.test("a load that is aborted rejects with the reason, before and during", async (t) => {
  const reason = new Error("no longer wanted");
  const before = await refusal(attempt(() => loadModel(bundledModel, { signal: AbortSignal.abort(reason) })));
  t.equal(before.code, "ABORTED");
  t.equal(before.cause, reason);
  const controller = new AbortController();
  const during = await refusal(
    attempt(() => loadModel(bundledModel, { signal: controller.signal, onProgress: () => controller.abort(reason) })),
  );
  t.equal(during.code, "ABORTED");
  t.equal(during.cause, reason);
  const thrown = new Error("the listener's own mistake");
  const byListener = await refusal(
    attempt(() =>
      loadModel(bundledModel, {
        onProgress: () => {
          throw thrown;
        },
      }),
    ),
  );
  t.equal(byListener.code, "ABORTED");
  t.equal(byListener.cause, thrown);
});

t.test("progress is told from nothing to all, and never backwards", async (t) => {
  const seen: { phase: string; done: number; total: number }[] = [];
  await load(t, bundledModel, { onProgress: (progress) => seen.push({ ...progress }) });
  for (const phase of ["read", "convert"]) {
    const steps = seen.filter((step) => step.phase === phase);
    t.ok(steps.length > 0, phase);
    t.ok(steps.every((step, i) => step.done >= (steps[i - 1]?.done ?? 0) && step.done <= step.total), `${phase}: forwards`);
    const last = steps[steps.length - 1];
    t.equal(last?.done, last?.total, `${phase}: to its end`);
  }
});

t.test("devices never throws and says why a device is not there", async (t) => {
  const all = devices();
  const cpu = all.find((device) => device.id === "cpu");
  t.ok(cpu?.available === true && cpu.id === "cpu" && cpu.cores >= 1 && cpu.memoryBytes > 0 && cpu.isa !== "");
  for (const device of all) if (!device.available) t.match(device.reason, /\w{3,}/);
  const model = await load(t, families.opt, { device: "auto" });
  const usable = all.find((device) => device.id !== "cpu" && device.available);
  t.equal(model.device.id, usable?.id ?? "cpu");
  t.match(model.device.why, /auto/);
});

t.test("a file set of the smallest kind loads: config and weights, nothing else", async (t) => {
  const folder = damaged(t, (at) => {
    for (const name of ["generation_config.json", "golden.json", "golden.safetensors"]) rmSync(join(at, name));
  });
  const model = await load(t, folder);
  t.equal(model.config.family, "opt");
  t.same(model.config.endTokenIds, [2], "end tokens come from config.json then");
  t.equal((await model.generate([5], greedy(2))).tokenIds.length, 2);
  t.equal(readFileSync(join(folder, "config.json")).length > 0, true);
});
