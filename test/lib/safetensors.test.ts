import { readFileSync } from "node:fs";

import t from "tap";

import { readSafetensorsHeader } from "../../dist/model/safetensors.js";
import { SplitwiserError } from "../../dist/errors.js";
import { errorOf, fixture, malformed, safetensorsOf, writeFolder } from "./fixtures.js";

t.test("malformed files are refused with a reason, valid ones are read", async (t) => {
  for (const { path, what, valid } of malformed("safetensors")) {
    const file = fixture(`malformed/${path}`);
    let outcome: "read" | "refused" | "another error" = "read";
    try {
      const header = await readSafetensorsHeader(file);
      for (const tensor of header.tensors) {
        t.ok(tensor.offset + tensor.bytes <= header.fileBytes, `${path}: ${tensor.name} lies in the file`);
      }
    } catch (error) {
      outcome = error instanceof SplitwiserError && error.code === "CORRUPT_FILE" ? "refused" : "another error";
    }
    if (valid === null) t.not(outcome, "another error", `${path}: ${what}`);
    else t.equal(outcome, valid ? "read" : "refused", `${path}: ${what}`);
  }
});

t.test("says where tensors lie", async (t) => {
  const bytes = safetensorsOf({ b: { dtype: "F16", shape: [3] }, a: { dtype: "F32", shape: [2, 2] } });
  const file = `${writeFolder(t.testdir(), { "x.safetensors": bytes })}/x.safetensors`;
  const { tensors, fileBytes } = await readSafetensorsHeader(file);
  t.equal(fileBytes, bytes.length);
  const start = bytes.length - 22;
  t.same(tensors, [
    { name: "b", dtype: "F16", shape: [3], offset: start, bytes: 6 },
    { name: "a", dtype: "F32", shape: [2, 2], offset: start + 6, bytes: 16 },
  ]);
});

t.test("a name may be anything, also that of a prototype", async (t) => {
  const { tensors } = await readSafetensorsHeader(fixture("malformed/safetensors/valid-proto-name.safetensors"));
  t.same(tensors.map((tensor) => tensor.name).sort(), ["__proto__", "constructor"]);
});

t.test("metadata is kept", async (t) => {
  const { metadata } = await readSafetensorsHeader(fixture("malformed/safetensors/valid-metadata.safetensors"));
  t.ok(metadata.size > 0);
});

t.test("a file cut at any byte is refused", async (t) => {
  const whole = readFileSync(fixture("malformed/safetensors/valid-unsorted-header.safetensors"));
  const folder = t.testdir();
  for (let length = 0; length < whole.length; length += 3) {
    writeFolder(folder, { "cut.safetensors": whole.subarray(0, length) });
    await errorOf(t, () => readSafetensorsHeader(`${folder}/cut.safetensors`), "CORRUPT_FILE");
  }
});

t.test("a missing file and a folder are named", async (t) => {
  await errorOf(t, () => readSafetensorsHeader("/no/such/file.safetensors"), "MODEL_NOT_FOUND", /no such file/);
  await errorOf(t, () => readSafetensorsHeader(fixture("malformed")), "CORRUPT_FILE", /expected a file/);
});
