import { readFileSync } from "node:fs";
import { join } from "node:path";

import t from "tap";

import { packageRoot } from "../../dist/addon.js";
import { locateFolder, readModelFolder } from "../../dist/model/folder.js";
import { readConfig } from "../../dist/model/config.js";
import { bundledModel, families } from "../helpers/paths.js";
import { errorOf, safetensorsOf, writeFolder, type FakeTensor } from "./fixtures.js";

const config = JSON.stringify({
  model_type: "opt", hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 2, ffn_dim: 8, vocab_size: 10, max_position_embeddings: 6,
  word_embed_proj_dim: 2, do_layer_norm_before: false, eos_token_id: 2,
});
const { family, model } = readConfig(Buffer.from(config), "config.json");

function tensors(change: (name: string, tensor: FakeTensor) => [string, FakeTensor] | null = (name, tensor) => [name, tensor]) {
  const all = family.tensors(model).map(({ name, shape }) => change(name, { dtype: shape.length === 2 ? "F16" : "F32", shape }));
  return Object.fromEntries(all.filter((entry) => entry !== null));
}

const read = (t: { testdir: () => string }, files: Record<string, string | Buffer>) =>
  readModelFolder(writeFolder(t.testdir(), { "config.json": config, ...files }));
const weights = (all: Record<string, FakeTensor>) => ({ "model.safetensors": safetensorsOf(all) });

t.test("reads the bundled and the tiny models", async (t) => {
  t.equal(await locateFolder("radiology"), join(packageRoot, "models/splitwiser-radiology-opt"));
  const bundled = await readModelFolder(bundledModel);
  t.equal(bundled.parameters, 4_732_928);
  t.equal(bundled.storedDtype, "f16");
  t.same(bundled.endTokenIds, [2]);
  t.ok(bundled.tokenizer);
  for (const folder of Object.values(families)) {
    t.equal(await locateFolder(folder), folder);
    const { tensors, tokenizer } = await readModelFolder(folder);
    t.equal(tokenizer, undefined);
    t.ok(tensors.every((tensor) => tensor.name.startsWith("model.decoder.")));
  }
});

t.test("names with and without the prefix, a head that is a copy, old checkpoints' leftovers", async (t) => {
  const plain = await read(t, weights(tensors()));
  const short = await read(t, weights({
    ...tensors((name, tensor) => [name.replace("model.", ""), tensor]),
    "lm_head.weight": { dtype: "F16", shape: [10, 2] },
    "decoder.version": { dtype: "F32", shape: [1] },
  }));
  t.same(short.tensors.map((tensor) => tensor.name), plain.tensors.map((tensor) => tensor.name));
  t.equal(short.storedDtype, "f16");
  t.equal(short.parameters, plain.parameters);
});

t.test("an untied head is needed", async (t) => {
  const untied = JSON.stringify({ ...JSON.parse(config), tie_word_embeddings: false });
  await errorOf(t, () => read(t, { "config.json": untied, ...weights(tensors()) }), "CORRUPT_FILE", /"lm_head\.weight" \[10, 2\] is missing/);
  const head = { "lm_head.weight": { dtype: "F16", shape: [10, 2] } };
  const folder = await read(t, { "config.json": untied, ...weights({ ...tensors(), ...head }) });
  t.ok(folder.tensors.some((tensor) => tensor.name === "lm_head.weight"));
});

t.test("tensors that are missing, misshaped, of another type, unknown or there twice are named", async (t) => {
  const name = "model.decoder.layers.0.fc1.weight";
  const change = (tensor: FakeTensor | null) =>
    weights(tensors((other, given) => (other !== name ? [other, given] : tensor && [other, tensor])));
  await errorOf(t, () => read(t, change(null)), "CORRUPT_FILE", /"model\.decoder\.layers\.0\.fc1\.weight" \[8, 4\] is missing in .*model\.safetensors/);
  await errorOf(t, () => read(t, change({ dtype: "F16", shape: [4, 8] })), "CORRUPT_FILE", /config\.json makes its shape \[8, 4\], the file has \[4, 8\]/);
  await errorOf(t, () => read(t, change({ dtype: "F16", shape: [32] })), "CORRUPT_FILE", /\[32\]/);
  await errorOf(t, () => read(t, change({ dtype: "I8", shape: [8, 4] })), "UNSUPPORTED_MODEL", /expected F32, F16 or BF16, it is stored as I8/);
  const more = { "model.decoder.layers.1.fc1.weight": { dtype: "F16", shape: [8, 4] } };
  await errorOf(t, () => read(t, weights({ ...tensors(), ...more })), "UNSUPPORTED_MODEL", /layers\.1\.fc1\.weight" \[8, 4\] is no part/);
  const twice = { "decoder.embed_tokens.weight": { dtype: "F16", shape: [10, 2] } };
  await errorOf(t, () => read(t, weights({ ...tensors(), ...twice })), "CORRUPT_FILE", /there twice/);
});

t.test("the config of other weights is refused", async (t) => {
  const other = JSON.stringify({ ...JSON.parse(readFileSync(join(families.opt, "config.json"), "utf8")), hidden_size: 256, word_embed_proj_dim: 256 });
  const error = () => read(t, { "config.json": other, "model.safetensors": readFileSync(join(families.opt, "model.safetensors")) });
  await errorOf(t, error, "CORRUPT_FILE", /shape/);
});

t.test("sources that this version cannot load say what works", async (t) => {
  await errorOf(t, () => locateFolder("facebook/opt-125m"), "MODEL_NOT_FOUND", /hf download facebook\/opt-125m/);
  await errorOf(t, () => locateFolder("/no/such/folder"), "MODEL_NOT_FOUND", /"radiology"/);
  await errorOf(t, () => locateFolder("no-such.gguf"), "MODEL_NOT_FOUND");
  await errorOf(t, () => locateFolder(""), "INVALID_OPTION", /source/);
  await errorOf(t, () => locateFolder(undefined), "INVALID_OPTION", /source/);
  await errorOf(t, () => locateFolder("a\0b"), "MODEL_NOT_FOUND");
  const folder = writeFolder(t.testdir(), { "x.gguf": "GGUF", "model.safetensors": "" });
  await errorOf(t, () => locateFolder(`${folder}/x.gguf`), "UNSUPPORTED_MODEL", /GGUF files are not supported yet/);
  await errorOf(t, () => locateFolder(`${folder}/model.safetensors`), "UNSUPPORTED_MODEL", /pass the folder/);
  await errorOf(t, () => locateFolder(`${folder}/x.gguf/y`), "MODEL_NOT_FOUND");
  await errorOf(t, () => readModelFolder(folder), "MODEL_NOT_FOUND", /config\.json: there is no such file/);
});
