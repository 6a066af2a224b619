import { chmodSync } from "node:fs";

import t from "tap";

import { SplitwiserError } from "../../dist/errors.js";
import { readCheckpoint } from "../../dist/model/shards.js";
import { errorOf, fixture, malformed, safetensorsOf, writeFolder } from "./fixtures.js";

const one = { dtype: "F32", shape: [1] };

t.test("malformed indexes are refused with a reason, valid ones are read", async (t) => {
  for (const { path, what, valid } of malformed("index")) {
    let code: string | undefined;
    try {
      await readCheckpoint(fixture(`malformed/${path}`));
    } catch (error) {
      code = error instanceof SplitwiserError ? error.code : String(error);
    }
    t.equal(code, valid ? undefined : "CORRUPT_FILE", `${path}: ${what}`);
  }
});

t.test("a checkpoint of several shards, the tensors of the index only", async (t) => {
  const folder = writeFolder(t.testdir(), {
    "a.safetensors": safetensorsOf({ x: one, "not in the index": one }),
    "b.safetensors": safetensorsOf({ y: one }),
    "model.safetensors.index.json": JSON.stringify({ weight_map: { x: "a.safetensors", y: "b.safetensors" } }),
  });
  const files: [number, number][] = [];
  const checkpoint = await readCheckpoint(folder, { onFile: (done, total) => files.push([done, total]) });
  t.same(checkpoint.files.map((file) => file.name), ["a.safetensors", "b.safetensors"]);
  t.same(checkpoint.tensors.map(({ name, file }) => [name, file]), [["x", 0], ["y", 1]]);
  t.same(files, [[1, 2], [2, 2]]);
});

t.test("a folder without weights says what is missing, and what to do with others", async (t) => {
  await errorOf(t, () => readCheckpoint(t.testdir()), "MODEL_NOT_FOUND", /expected model\.safetensors/);
  const folder = writeFolder(t.testdir(), { "pytorch_model.bin": "" });
  await errorOf(t, () => readCheckpoint(folder), "UNSUPPORTED_MODEL", /safe_serialization/);
});

t.test("an abort ends the reading", async (t) => {
  const folder = writeFolder(t.testdir(), { "model.safetensors": safetensorsOf({ x: one }) });
  const error = await errorOf(t, () => readCheckpoint(folder, { signal: AbortSignal.abort("why") }), "ABORTED");
  t.equal(error?.cause, "why");
  t.equal(error?.name, "AbortError");
});

t.test("an unreadable file", async (t) => {
  if (process.getuid?.() === 0 || process.platform === "win32") return t.pass("this user may read everything");
  const folder = writeFolder(t.testdir(), { "model.safetensors": safetensorsOf({ x: one }) });
  chmodSync(`${folder}/model.safetensors`, 0);
  await errorOf(t, () => readCheckpoint(folder), "MODEL_NOT_FOUND", /permissions/);
});
