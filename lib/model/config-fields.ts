// Fields of config.json, checked one by one, and what a family makes of them.
import { SplitwiserError } from "../errors.js";
import type { NativeModel } from "../native.js";
import { corruptFile, describeJson, type Json, type JsonObject } from "./json.js";

/** A tensor that the model needs, by its canonical Hugging Face name. */
export interface TensorSpec {
  name: string;
  shape: number[];
}

/** What a family of models says of itself; one file each in families/. */
export interface Family {
  /** `model_type` of config.json. */
  modelType: string;
  read(config: ConfigFields): NativeModel;
  tensors(model: NativeModel): TensorSpec[];
  /** The canonical name of a tensor of a file; null: it holds nothing that the model needs. */
  canonicalName(name: string, model: NativeModel): string | null;
}

/** No model of today comes near; what lies above is damage, and must not reach an allocation. */
export const limits = { layers: 1024, heads: 4096, width: 2 ** 18, vocab: 2 ** 24, positions: 2 ** 26, headDim: 4096 } as const;

/** Fields of config.json. Errors name file and field, and say what was expected. */
export class ConfigFields {
  readonly #object: JsonObject;
  readonly file: string;

  constructor(object: JsonObject, file: string) {
    this.#object = object;
    this.file = file;
  }

  get(name: string): Json | undefined {
    return this.#object.get(name);
  }

  refuse(name: string, expected: string): SplitwiserError {
    return corruptFile(this.file, `${name}: expected ${expected}, got ${describeJson(this.get(name))}`);
  }

  unsupported(name: string, expected: string): SplitwiserError {
    return new SplitwiserError(
      "UNSUPPORTED_MODEL",
      `${this.file}: ${name}: this version computes with ${expected}, got ${describeJson(this.get(name))}`,
    );
  }

  /** Without a fallback the field must be there. */
  integer(name: string, max: number, fallback?: number): number {
    const value = this.get(name) ?? (this.#object.has(name) ? null : fallback);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > max) {
      throw this.refuse(name, `a whole number from 1 to ${max}`);
    }
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.#object.has(name) ? this.get(name) : fallback;
    if (typeof value !== "boolean") throw this.refuse(name, "true or false");
    return value;
  }

  word<const Word extends string>(name: string, words: readonly Word[], fallback: Word): Word {
    const value = this.#object.has(name) ? this.get(name) : fallback;
    if (typeof value !== "string") throw this.refuse(name, "a string");
    const found = words.find((word) => word === value);
    if (found === undefined) throw this.unsupported(name, words.join(" or "));
    return found;
  }

  /** One id, several, or none. */
  tokenIds(name: string): number[] | undefined {
    const value = this.get(name);
    if (value === undefined || value === null) return undefined;
    return (Array.isArray(value) ? value : [value]).map((id) => {
      if (typeof id !== "number" || !Number.isSafeInteger(id)) throw this.refuse(name, "a token id or an array of them");
      return id;
    });
  }
}
