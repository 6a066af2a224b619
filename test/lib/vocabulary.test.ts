import { readFileSync } from "node:fs";

import t from "tap";

import type { NativeVocabulary } from "../../dist/native.js";
import { loadTokenizer } from "../../dist/tokenizer/tokenizer.js";
import { byteLevelAlphabet, makeVocabulary } from "../../dist/tokenizer/vocabulary.js";
import { bundledModel } from "../helpers/paths.js";
import { errorOf, fixture } from "./fixtures.js";

const sizes = { "byte-level-bpe": 900, "llama-bpe": 1100, "t5-unigram": 480 } as const;
const names = Object.keys(sizes) as (keyof typeof sizes)[];
const text = (name: string) => readFileSync(fixture(`tokenizers/${name}/tokenizer.json`), "utf8");

/** The decoder's rule in the plainest form: all bytes at once. Native code does the same one token at a time. */
function decode({ kind, bytes, offsets, kinds }: NativeVocabulary, ids: readonly number[]): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const parts: { bytes: number[]; fallback: boolean }[] = [];
  for (const id of ids) {
    if (kinds[id] === 1) continue;
    const fallback = kinds[id] === 2;
    const last = parts.at(-1);
    const own = bytes.subarray(offsets[id], offsets[id + 1]);
    // Bytes of a run of byte-fallback tokens belong together; elsewhere every token is text, but for byte-level, where all are one run.
    if (last && (kind === "byte-level" || (fallback && last.fallback))) last.bytes.push(...own);
    else parts.push({ bytes: [...own], fallback });
  }
  const whole = parts
    .map((part) => {
      const run = decoder.decode(Uint8Array.from(part.bytes));
      return part.fallback && run.includes("\ufffd") ? "\ufffd".repeat(part.bytes.length) : run;
    })
    .join("");
  return kind !== "byte-level" && whole.startsWith(" ") ? whole.slice(1) : whole;
}

for (const name of names) {
  t.test(`${name}: bytes of tokens make the text that tokenizers makes`, async (t) => {
    const tokenizer = await loadTokenizer(text(name), name);
    const vocabulary = tokenizer.vocabulary(sizes[name]);
    if (!vocabulary) return t.fail("there is a vocabulary");
    const { cases } = JSON.parse(readFileSync(fixture(`tokenizers/${name}/stream.json`), "utf8")) as {
      cases: { ids: number[]; final: string }[];
    };
    for (const { ids, final } of cases) {
      t.equal(await tokenizer.decode(ids), final);
      t.equal(decode(vocabulary, ids), final);
    }
  });

  t.test(`${name}: encodes and decodes as the reference does`, async (t) => {
    const tokenizer = await loadTokenizer(text(name), name);
    const { cases } = JSON.parse(readFileSync(fixture(`tokenizers/${name}/encode.json`), "utf8")) as {
      cases: { text: string; ids: number[]; idsWithoutSpecial: number[]; decoded: string; decodedSkipSpecial: string }[];
    };
    const all = await tokenizer.encodeAll(cases.map((one) => one.text), true);
    for (const [i, one] of cases.entries()) {
      t.same(all[i], one.ids);
      t.same(await tokenizer.encode(one.text, { addSpecialTokens: false }), one.idsWithoutSpecial);
      t.equal(await tokenizer.decode(one.ids, { skipSpecialTokens: false }), one.decoded);
      t.equal(await tokenizer.decode(Uint32Array.from(one.ids)), one.decodedSkipSpecial);
    }
  });
}

t.test("the bundled model's vocabulary, larger than its tokenizer may be", async (t) => {
  const tokenizer = await loadTokenizer(readFileSync(`${bundledModel}/tokenizer.json`, "utf8"), "tokenizer.json");
  const vocabulary = tokenizer.vocabulary(4100);
  if (!vocabulary) return t.fail("there is a vocabulary");
  t.equal(vocabulary.offsets.length, 4101);
  t.equal(vocabulary.kinds.length, 4100);
  t.equal(vocabulary.offsets[4100], vocabulary.bytes.length);
  t.equal(vocabulary.offsets[4096], vocabulary.offsets[4100], "ids without a token have no bytes");
  const ids = await tokenizer.encode("findings: the heart is normal . impression:");
  t.equal(ids[0], 2);
  t.equal(decode(vocabulary, ids), "findings: the heart is normal . impression:");
});

t.test("byte-level alphabet", (t) => {
  const alphabet = byteLevelAlphabet();
  t.equal(alphabet.size, 256);
  t.equal(alphabet.get("A"), 0x41);
  t.equal(alphabet.get("Ġ"), 0x20);
  t.equal(alphabet.get("Ċ"), 0x0a);
  t.equal(new Set(alphabet.values()).size, 256);
  t.end();
});

t.test("added tokens stand for their own text", (t) => {
  const json = { decoder: { type: "ByteLevel" }, added_tokens: [{ content: "<|x|>", special: true }, { content: "日 本", special: false }] };
  const tokens = ["<|x|>", "日 本", "Ġa", "Ã", null];
  const { bytes, offsets, kinds } = makeVocabulary({ json, tokenOf: (id) => tokens[id] ?? null, vocab: 5 });
  t.same([...kinds], [1, 0, 0, 0, 0]);
  const of = (id: number) => Buffer.from(bytes.subarray(offsets[id], offsets[id + 1]));
  t.equal(of(1).toString(), "日 本");
  t.equal(of(2).toString(), " a");
  t.same([...of(3)], [0xc3]);
  t.equal(of(4).length, 0);
  t.end();
});

t.test("a decoder that native code does not know is refused, with what works", async (t) => {
  const decoders = [
    null,
    undefined,
    { type: "WordPiece" },
    { type: "Sequence", decoders: [] },
    { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }] },
    {
      type: "Sequence",
      decoders: [{ type: "Replace" }, { type: "ByteFallback" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }],
    },
    { type: "Metaspace" },
  ];
  for (const decoder of decoders) {
    await errorOf(t, () => makeVocabulary({ json: { decoder }, tokenOf: () => "a", vocab: 1 }), "UNSUPPORTED_MODEL", /tokenizer\.json/);
  }
});

t.test("a damaged tokenizer.json is refused", async (t) => {
  for (const broken of ["", "{", "{}", "[]", '{"model": {"type": "BPE"}}', text("llama-bpe").slice(0, 900)]) {
    await errorOf(t, () => loadTokenizer(broken, "tokenizer.json"), "CORRUPT_FILE", /is not a tokenizer/);
  }
});

t.test("what training left behind does not cut prompts", async (t) => {
  const json = JSON.parse(text("byte-level-bpe")) as Record<string, unknown>;
  json["truncation"] = { direction: "Right", max_length: 3, strategy: "LongestFirst", stride: 0 };
  json["padding"] = { strategy: { Fixed: 9 }, direction: "Right", pad_to_multiple_of: null, pad_id: 1, pad_type_id: 0, pad_token: "<pad>" };
  const tokenizer = await loadTokenizer(JSON.stringify(json), "tokenizer.json");
  const plain = await loadTokenizer(text("byte-level-bpe"), "tokenizer.json");
  const words = "a prompt of some words";
  t.same(await tokenizer.encode(words), await plain.encode(words));
});

t.test("bad arguments", async (t) => {
  const tokenizer = await loadTokenizer(text("byte-level-bpe"), "tokenizer.json");
  await errorOf(t, () => tokenizer.encode(7 as unknown as string), "INVALID_OPTION", /text: expected a string, got 7/);
  await errorOf(t, () => tokenizer.encode("a", { addSpecial: true } as object), "INVALID_OPTION", /addSpecialTokens/);
  await errorOf(t, () => tokenizer.decode([1, -1]), "INVALID_OPTION", /ids\[1\]/);
  await errorOf(t, () => tokenizer.decode("1" as unknown as number[]), "INVALID_OPTION", /ids: expected/);
  t.equal(await tokenizer.decode([]), "");
});
