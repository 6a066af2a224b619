// A strict JSON reader for files that nobody vouches for. JSON.parse is too lax for them: it takes the last of two equal keys,
// replaces invalid UTF-8, rounds large integers and recurses as deep as the text says. Objects become Maps: no name
// can touch a prototype.
import { SplitwiserError } from "../errors.js";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = Map<string, Json>;

const maxDepth = 64;

export function corruptFile(file: string, what: string, cause?: unknown): SplitwiserError {
  return new SplitwiserError("CORRUPT_FILE", `${file}: ${what}`, cause === undefined ? {} : { cause });
}

/** Throws `CORRUPT_FILE`. A byte order mark is skipped. */
export function parseJson(bytes: Uint8Array, file: string): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw corruptFile(file, "is not valid UTF-8", error);
  }
  return new Parser(text, file).document();
}

export function parseJsonObject(bytes: Uint8Array, file: string): JsonObject {
  const value = parseJson(bytes, file);
  if (!(value instanceof Map)) throw corruptFile(file, `expected a JSON object, got ${describeJson(value)}`);
  return value;
}

export function describeJson(value: Json | undefined): string {
  if (value === undefined) return "nothing";
  if (value instanceof Map) return "an object";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const stringBody = /[^"\\\u0000-\u001f]*/y;
const numberText = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

class Parser {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #depth = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  document(): Json {
    this.#space();
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) throw this.#error("text after the end of the JSON value");
    return value;
  }

  #error(what: string): SplitwiserError {
    return corruptFile(this.#file, `is not valid JSON: ${what} at character ${this.#at}`);
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at++;
    }
  }

  #value(): Json {
    const c = this.#text[this.#at];
    switch (c) {
      case "{":
        return this.#nested(() => this.#object());
      case "[":
        return this.#nested(() => this.#array());
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      case undefined:
        throw this.#error("the text ends too early");
      default:
        return this.#number();
    }
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > maxDepth) throw this.#error(`nested deeper than ${maxDepth} levels`);
    this.#at++;
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): JsonObject {
    const object: JsonObject = new Map();
    this.#space();
    if (this.#take("}")) return object;
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#error("expected a key");
      const key = this.#string();
      if (object.has(key)) throw this.#error(`the key ${JSON.stringify(key)} is there twice`);
      this.#space();
      if (!this.#take(":")) throw this.#error('expected ":"');
      this.#space();
      object.set(key, this.#value());
      this.#space();
    } while (this.#take(","));
    if (!this.#take("}")) throw this.#error('expected "," or "}"');
    return object;
  }

  #array(): Json[] {
    const array: Json[] = [];
    this.#space();
    if (this.#take("]")) return array;
    do {
      this.#space();
      array.push(this.#value());
      this.#space();
    } while (this.#take(","));
    if (!this.#take("]")) throw this.#error('expected "," or "]"');
    return array;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error("an unknown word");
    this.#at += word.length;
    return value;
  }

  #number(): number {
    numberText.lastIndex = this.#at;
    const match = numberText.exec(this.#text);
    if (!match) throw this.#error("an unexpected character");
    const value = Number(match[0]);
    if (!Number.isFinite(value)) throw this.#error("a number that is too large");
    this.#at += match[0].length;
    return value;
  }

  #string(): string {
    this.#at++;
    let value = "";
    for (;;) {
      stringBody.lastIndex = this.#at;
      const body = stringBody.exec(this.#text)?.[0] ?? "";
      value += body;
      this.#at += body.length;
      if (this.#take('"')) return value;
      if (!this.#take("\\")) throw this.#error("a string that does not end, or a control character in it");
      value += this.#escape();
    }
  }

  #escape(): string {
    const c = this.#text[this.#at] ?? "";
    this.#at++;
    if (c !== "u") {
      const escaped = Object.hasOwn(escapes, c) ? escapes[c] : undefined;
      if (escaped === undefined) throw this.#error("an unknown escape");
      return escaped;
    }
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#error("an escape that is not \\uXXXX");
    this.#at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }
}
