// Text and token ids, by the `tokenizers` package, which is loaded when a model with a tokenizer.json is.
import { messageOf, SplitwiserError, toSplitwiserError } from "../errors.js";
import type { NativeVocabulary } from "../native.js";
import type { DecodeTextOptions, EncodeOptions, TokenIds, Tokenizer } from "../types.js";
import { checkBoolean, checkFields, invalidOption } from "../validate.js";
import { makeVocabulary } from "./vocabulary.js";

/** A tokenizer with what only this library needs. */
export interface LoadedTokenizer extends Tokenizer {
  /** All texts in parallel. */
  encodeAll(texts: readonly string[], addSpecialTokens: boolean): Promise<number[][]>;
  vocabulary(vocab: number): NativeVocabulary | null;
}

/** Throws `CORRUPT_FILE` for a tokenizer.json that `tokenizers` refuses. */
export async function loadTokenizer(text: string, file: string): Promise<LoadedTokenizer> {
  const { Tokenizer: Native } = await import("tokenizers");
  let json: unknown;
  let native: InstanceType<typeof Native>;
  try {
    json = JSON.parse(text);
    native = Native.fromString(text);
  } catch (error) {
    throw new SplitwiserError("CORRUPT_FILE", `${file}: is not a tokenizer: ${messageOf(error)}`, { cause: error });
  }
  // Of training: a prompt must never be cut or filled up without a word.
  native.disableTruncation();
  native.disablePadding();

  const encodeAll = async (texts: readonly string[], addSpecialTokens: boolean): Promise<number[][]> => {
    try {
      const encodings = await native.encodeBatch([...texts], { addSpecialTokens });
      return encodings.map((encoding) => encoding.getIds());
    } catch (error) {
      throw toSplitwiserError(error);
    }
  };
  return {
    async encode(input, options) {
      const [ids = []] = await encodeAll([checkText(input)], checkEncodeOptions(options));
      return ids;
    },
    async decode(ids, options) {
      const checked = checkIds(ids);
      try {
        return await native.decode(checked, checkDecodeTextOptions(options));
      } catch (error) {
        throw toSplitwiserError(error);
      }
    },
    encodeAll,
    vocabulary: (vocab) => makeVocabulary({ json, tokenOf: (id) => native.idToToken(id), vocab }),
  };
}

/** Of a folder without tokenizer.json: token ids work, text says what to do. */
export function missingTokenizer(folder: string): LoadedTokenizer {
  const refuse = () =>
    Promise.reject(
      new SplitwiserError(
        "INVALID_OPTION",
        `${folder} has no tokenizer.json, so text cannot be read or written: pass token ids, or add the file, in Python: ` +
          "AutoTokenizer.from_pretrained(name).save_pretrained(folder)",
      ),
    );
  return { encode: refuse, decode: refuse, encodeAll: refuse, vocabulary: () => null };
}

function checkText(text: unknown): string {
  if (typeof text !== "string") throw invalidOption("text", "a string", text);
  return text;
}

function checkIds(ids: TokenIds): number[] {
  if (!Array.isArray(ids) && !(ids instanceof Uint32Array)) throw invalidOption("ids", "an array or Uint32Array of token ids", ids);
  return Array.from(ids, (id: unknown, i) => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 32) {
      throw invalidOption(`ids[${i}]`, "a token id", id);
    }
    return id;
  });
}

function checkEncodeOptions(options: EncodeOptions | undefined): boolean {
  const { addSpecialTokens } = checkFields("encode options", options, ["addSpecialTokens"]);
  return addSpecialTokens === undefined ? true : checkBoolean("addSpecialTokens", addSpecialTokens);
}

function checkDecodeTextOptions(options: DecodeTextOptions | undefined): boolean {
  const { skipSpecialTokens } = checkFields("decode options", options, ["skipSpecialTokens"]);
  return skipSpecialTokens === undefined ? true : checkBoolean("skipSpecialTokens", skipSpecialTokens);
}
