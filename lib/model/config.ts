// config.json and generation_config.json, checked: numbers in range, divisible where they must be, words known.
import { SplitwiserError } from "../errors.js";
import type { NativeModel } from "../native.js";
import { ConfigFields, type Family } from "./config-fields.js";
import { describeJson, parseJsonObject } from "./json.js";
import { opt } from "./families/opt.js";

const families: readonly Family[] = [opt];

export interface ReadConfig {
  family: Family;
  model: NativeModel;
  fields: ConfigFields;
}

/** Throws `CORRUPT_FILE` for a damaged file, `UNSUPPORTED_MODEL` for what this version cannot compute. */
export function readConfig(bytes: Uint8Array, file: string): ReadConfig {
  const fields = new ConfigFields(parseJsonObject(bytes, file), file);
  const modelType = fields.get("model_type");
  if (typeof modelType !== "string") throw fields.refuse("model_type", "a string");
  const family = families.find((known) => known.modelType === modelType);
  if (!family) {
    throw new SplitwiserError(
      "UNSUPPORTED_MODEL",
      `${file}: model_type ${describeJson(modelType)} is not supported: this version runs ${families
        .map((known) => `"${known.modelType}"`)
        .join(", ")}`,
    );
  }
  if (fields.get("quantization_config") !== undefined && fields.get("quantization_config") !== null) {
    throw new SplitwiserError(
      "UNSUPPORTED_MODEL",
      `${file}: quantization_config: quantized weights are not supported: use the model's float32, float16 or bfloat16 files`,
    );
  }
  return { family, model: family.read(fields), fields };
}

/** End tokens: generation_config.json's word counts, config.json's where that says nothing. Ids that no token has cannot be drawn. */
export function endTokenIds(config: ConfigFields, generation: ConfigFields | undefined, vocab: number): number[] {
  const ids = generation?.tokenIds("eos_token_id") ?? config.tokenIds("eos_token_id") ?? [];
  return [...new Set(ids)].filter((id) => id >= 0 && id < vocab);
}
