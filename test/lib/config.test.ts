import { readFileSync } from "node:fs";

import t from "tap";

import { SplitwiserError, type ErrorCode } from "../../dist/errors.js";
import { endTokenIds, readConfig } from "../../dist/model/config.js";
import { errorOf, fixture, malformed } from "./fixtures.js";

const valid = JSON.parse(readFileSync(fixture("families/opt/config.json"), "utf8")) as Record<string, unknown>;
const read = (config: unknown) => readConfig(Buffer.from(typeof config === "string" ? config : JSON.stringify(config)), "config.json");
const changed = (change: object) => ({ ...valid, ...change });
const without = (name: string) => Object.fromEntries(Object.entries(valid).filter(([key]) => key !== name));

t.test("both forms of OPT", (t) => {
  t.match(read(valid).model, {
    family: "opt", layers: 2, heads: 2, kvHeads: 2, headDim: 64, hidden: 128, ffn: 256, vocab: 400, maxPositions: 192,
    embedDim: 128, preNorm: true, finalNorm: true, activation: "relu", tiedEmbeddings: true, biases: true,
  });
  const post = readFileSync(fixture("families/opt-350m/config.json"), "utf8");
  t.match(read(post).model, { embedDim: 64, preNorm: false, finalNorm: false, vocab: 408 });
  t.equal(read(changed({ _remove_final_layer_norm: true })).model.finalNorm, false);
  t.equal(read(changed({ enable_bias: false })).model.biases, false);
  t.equal(read(changed({ activation_function: "gelu" })).model.activation, "gelu");
  t.end();
});

t.test("fields that have a default may be left out", (t) => {
  const optional = [
    "word_embed_proj_dim", "do_layer_norm_before", "_remove_final_layer_norm", "enable_bias", "layer_norm_elementwise_affine",
    "tie_word_embeddings", "activation_function", "eos_token_id", "torch_dtype", "architectures",
  ];
  const config = Object.fromEntries(Object.entries(valid).filter(([key]) => !optional.includes(key)));
  t.same(read(config).model, read(valid).model);
  t.same(read(changed({ unknown_field: { a: [1] }, quantization_config: null })).model, read(valid).model);
  t.same(read(`\ufeff${JSON.stringify(valid)}`).model, read(valid).model, "with a byte order mark");
  t.end();
});

t.test("what is wrong is refused, by name", async (t) => {
  const cases: [config: unknown, code: ErrorCode, words: RegExp][] = [
    ...["hidden_size", "num_hidden_layers", "num_attention_heads", "ffn_dim", "vocab_size", "max_position_embeddings"].flatMap(
      (name): [unknown, ErrorCode, RegExp][] => [
        [without(name), "CORRUPT_FILE", new RegExp(`${name}: .*got nothing`)],
        ...[0, -1, 1.5, "128", null, true, [], {}, 2 ** 53, 1099511627776, 2147483648].map((value): [unknown, ErrorCode, RegExp] => [
          changed({ [name]: value }),
          "CORRUPT_FILE",
          new RegExp(`${name}: expected`),
        ]),
      ],
    ),
    [without("model_type"), "CORRUPT_FILE", /model_type: expected a string/],
    [changed({ model_type: 7 }), "CORRUPT_FILE", /model_type/],
    [changed({ model_type: "no_such_model" }), "UNSUPPORTED_MODEL", /"no_such_model" is not supported: this version runs "opt"/],
    [changed({ hidden_size: 130, num_attention_heads: 4 }), "CORRUPT_FILE", /multiple of num_attention_heads \(4\)/],
    [changed({ hidden_size: 131072, num_attention_heads: 1 }), "CORRUPT_FILE", /at most 4096/],
    [changed({ word_embed_proj_dim: -64 }), "CORRUPT_FILE", /word_embed_proj_dim/],
    [changed({ word_embed_proj_dim: null }), "CORRUPT_FILE", /word_embed_proj_dim/],
    [changed({ activation_function: "wobble" }), "UNSUPPORTED_MODEL", /relu or gelu, got "wobble"/],
    [changed({ activation_function: 3 }), "CORRUPT_FILE", /activation_function/],
    [changed({ do_layer_norm_before: "yes" }), "CORRUPT_FILE", /true or false/],
    [changed({ layer_norm_elementwise_affine: false }), "UNSUPPORTED_MODEL", /layer_norm_elementwise_affine/],
    [changed({ quantization_config: { quant_method: "no_such_method" } }), "UNSUPPORTED_MODEL", /quantized/],
    ["", "CORRUPT_FILE", /too early/],
    ["not json", "CORRUPT_FILE", /JSON/],
    ["[]", "CORRUPT_FILE", /expected a JSON object/],
    ["null", "CORRUPT_FILE", /expected a JSON object/],
    [JSON.stringify(valid).slice(0, 100), "CORRUPT_FILE", /JSON/],
    [JSON.stringify(valid).replace('"vocab_size":400', '"vocab_size":NaN'), "CORRUPT_FILE", /JSON/],
    [`{"x":${"[".repeat(30000)}`, "CORRUPT_FILE", /deeper/],
    [`{"__proto__":${JSON.stringify(valid)}}`, "CORRUPT_FILE", /model_type: expected a string, got nothing/],
  ];
  for (const [config, code, words] of cases) await errorOf(t, () => read(config), code, words);
});

t.test("files of another family are refused, whole or damaged", (t) => {
  for (const { path, what } of malformed("config")) {
    try {
      readConfig(readFileSync(fixture(`malformed/${path}`)), path);
      t.fail(`${path} was read`);
    } catch (error) {
      const code = error instanceof SplitwiserError ? error.code : String(error);
      t.ok(code === "CORRUPT_FILE" || code === "UNSUPPORTED_MODEL", `${path}: ${what}: ${code}`);
    }
  }
  t.end();
});

t.test("end tokens: generation_config.json before config.json, ids that cannot be drawn left out", async (t) => {
  const fields = (config: unknown) => read(changed(config as object)).fields;
  t.same(endTokenIds(fields({ eos_token_id: 2 }), undefined, 400), [2]);
  t.same(endTokenIds(fields({ eos_token_id: 2 }), fields({ eos_token_id: [5, 7, 5, 400, -1] }), 400), [5, 7]);
  t.same(endTokenIds(fields({ eos_token_id: 3 }), fields({ eos_token_id: null }), 400), [3]);
  t.same(endTokenIds(fields({ eos_token_id: null }), undefined, 400), []);
  await errorOf(t, () => endTokenIds(fields({ eos_token_id: "</s>" }), undefined, 400), "CORRUPT_FILE", /eos_token_id/);
});
