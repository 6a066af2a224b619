import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import t from "tap";

import { loadFrom } from "../../dist/addon.js";
import { devices } from "../../dist/devices.js";
import { errorCodes, SplitwiserError, toSplitwiserError } from "../../dist/errors.js";
import { loadModel } from "../../dist/load.js";
import { makeLog } from "../../dist/log.js";
import { errorOf } from "./fixtures.js";

t.test("a missing addon: what was tried, for which platform, and the remedy", async (t) => {
  const error = await errorOf(t, () => loadFrom(t.testdir()), "ADDON_NOT_FOUND", /Tried \*\.node in .*prebuilds/);
  t.match(error?.message, `${process.platform} ${process.arch}`);
  t.match(error?.message, /To build it, install a C\+\+20 compiler and CMake/);
  t.ok(error?.cause instanceof Error);
});

t.test("an addon that cannot be loaded is another case", async (t) => {
  const root = t.testdir();
  mkdirSync(join(root, "build/Release"), { recursive: true });
  writeFileSync(join(root, "build/Release/splitwiser.node"), "not a library");
  await errorOf(t, () => loadFrom(root), "ADDON_NOT_FOUND", /is there but cannot be loaded/);
});

t.test("devices never throws, and gives a reason for what is not there", (t) => {
  const [cpu, cuda] = devices();
  t.equal(cpu?.id, "cpu");
  t.match(cuda, { id: "cuda:0" });
  t.ok(cuda?.available === true || (cuda?.reason ?? "").length > 0);
  t.end();
});

t.test("loadModel refuses bad options and an aborted signal before anything else", async (t) => {
  await errorOf(t, () => loadModel("radiology", { thread: 2 } as object), "INVALID_OPTION", /did you mean threads/);
  await errorOf(t, () => loadModel("radiology", { device: "cuda:4095" }), "DEVICE_UNAVAILABLE", /"cuda:4095" is not available/);
  const error = await errorOf(t, () => loadModel("radiology", { signal: AbortSignal.abort("no") }), "ABORTED");
  t.equal(error?.cause, "no");
  await errorOf(t, () => loadModel(7 as unknown as string), "INVALID_OPTION", /source/);
});

t.test("errors", (t) => {
  t.equal(new Set(errorCodes).size, errorCodes.length);
  const native = Object.assign(new Error("full"), { code: "OUT_OF_MEMORY" });
  t.match(toSplitwiserError(native), { code: "OUT_OF_MEMORY", message: "full", cause: native, name: "SplitwiserError" });
  t.equal(toSplitwiserError(Object.assign(new Error("x"), { code: "ENOENT" })).code, "INTERNAL");
  t.equal(toSplitwiserError("text").code, "INTERNAL");
  const own = new SplitwiserError("DEADLINE", "late");
  t.equal(toSplitwiserError(own), own);
  t.equal("cause" in own, false);
  t.end();
});

t.test("a log goes to its listener, which may throw, and costs nothing without one", (t) => {
  const records: unknown[] = [];
  makeLog((record) => void records.push(record))("warn", () => "words");
  t.same(records, [{ level: "warn", message: "words" }]);
  makeLog(() => {
    throw new Error("a broken listener");
  })("info", () => "words");
  makeLog(undefined)("info", () => {
    throw new Error("nobody reads it");
  });
  t.end();
});
