// Each token's bytes and the decoder's rule, from tokenizer.json, so that text is made natively, one token at a time.
import { SplitwiserError } from "../errors.js";
import type { NativeVocabulary } from "../native.js";

const kindPlain = 0;
const kindSpecial = 1;
const kindByteFallback = 2;

export interface VocabularySource {
  /** tokenizer.json, parsed. */
  json: unknown;
  /** Text of a token as the tokenizer has it; null where no token has this id. */
  tokenOf(id: number): string | null;
  /** Tokens of the model; the tokenizer may have fewer. */
  vocab: number;
}

interface Rule {
  kind: NativeVocabulary["kind"];
  /** Bytes of a token that is no special one, and whether it is a byte-fallback token. */
  bytesOf(token: string): { bytes: Uint8Array; fallback: boolean };
}

const encoder = new TextEncoder();

/** Throws `UNSUPPORTED_MODEL` for a decoder that is none of the three. */
export function makeVocabulary({ json, tokenOf, vocab }: VocabularySource): NativeVocabulary {
  const rule = ruleOf(field(json, "decoder"));
  const specials = specialTokens(json);
  const offsets = new Uint32Array(vocab + 1);
  const kinds = new Uint8Array(vocab);
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let id = 0; id < vocab; id++) {
    const token = tokenOf(id);
    // Ids without a token decode to nothing, as they do in `tokenizers`.
    if (token !== null) {
      const special = specials.has(token);
      const { bytes, fallback } = special ? { bytes: encoder.encode(token), fallback: false } : rule.bytesOf(token);
      kinds[id] = special ? kindSpecial : fallback ? kindByteFallback : kindPlain;
      parts.push(bytes);
      size += bytes.length;
    }
    offsets[id + 1] = size;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { kind: rule.kind, bytes, offsets, kinds };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function specialTokens(json: unknown): Set<string> {
  const specials = new Set<string>();
  for (const token of list(field(json, "added_tokens"))) {
    const content = field(token, "content");
    if (field(token, "special") === true && typeof content === "string") specials.add(content);
  }
  return specials;
}

function ruleOf(decoder: unknown): Rule {
  const steps = field(decoder, "type") === "Sequence" ? list(field(decoder, "decoders")) : [decoder];
  const types = steps.map((step) => field(step, "type"));
  const first = steps[0];
  if (types.length === 1 && types[0] === "ByteLevel") return byteLevel();
  if (types.length === 1 && types[0] === "Metaspace") return metaspace(first);
  if (types.join(" ") === "Replace ByteFallback Fuse Strip" && stripsOneBlank(steps[3])) return byteFallback(first);
  throw new SplitwiserError(
    "UNSUPPORTED_MODEL",
    `tokenizer.json: decoder ${types.map(String).join(", ")} is not supported: expected ByteLevel, Metaspace, or Replace, ByteFallback, ` +
      "Fuse, Strip of one blank; a copy of the folder without tokenizer.json works with token ids",
  );
}

function stripsOneBlank(step: unknown): boolean {
  return field(step, "content") === " " && field(step, "start") === 1 && field(step, "stop") === 0;
}

function byteLevel(): Rule {
  const byteOf = byteLevelAlphabet();
  return {
    kind: "byte-level",
    bytesOf(token) {
      const bytes: number[] = [];
      for (const character of token) {
        const byte = byteOf.get(character);
        // An added token with any other character stands for its own text.
        if (byte === undefined) return { bytes: encoder.encode(token), fallback: false };
        bytes.push(byte);
      }
      return { bytes: Uint8Array.from(bytes), fallback: false };
    },
  };
}

/**
 * The 256 printable characters that stand for bytes in GPT-2's vocabulary: printable Latin-1 characters stand for themselves, the other
 * bytes for the characters from U+0100 on, in order.
 */
export function byteLevelAlphabet(): Map<string, number> {
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    alphabet.set(String.fromCodePoint(itself ? byte : next++), byte);
  }
  return alphabet;
}

function byteFallback(replace: unknown): Rule {
  const from = field(field(replace, "pattern"), "String");
  const to = field(replace, "content");
  if (typeof from !== "string" || from === "" || typeof to !== "string") {
    throw new SplitwiserError("UNSUPPORTED_MODEL", "tokenizer.json: decoder Replace: expected a pattern String and a content");
  }
  return {
    kind: "byte-fallback",
    bytesOf(token) {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
      if (byte !== undefined) return { bytes: Uint8Array.of(Number.parseInt(byte, 16)), fallback: true };
      return { bytes: encoder.encode(token.replaceAll(from, to)), fallback: false };
    },
  };
}

function metaspace(step: unknown): Rule {
  const mark = field(step, "replacement");
  if (typeof mark !== "string" || mark === "") {
    throw new SplitwiserError("UNSUPPORTED_MODEL", "tokenizer.json: decoder Metaspace: expected a replacement");
  }
  return {
    // Without a blank in front of every text there is none to drop: bytes are the text, as in "byte-level".
    kind: field(step, "prepend_scheme") === "never" ? "byte-level" : "metaspace",
    bytesOf: (token) => ({ bytes: encoder.encode(token.replaceAll(mark, " ")), fallback: false }),
  };
}
