import t from "tap";

import { parseJson, parseJsonObject } from "../../dist/model/json.js";
import { errorOf } from "./fixtures.js";

const parse = (text: string) => parseJson(Buffer.from(text), "file");

t.test("reads what JSON.parse reads, objects as Maps", (t) => {
  t.same(parse(' [1, -0.5e2, true, false, null, "a\\u00e9\\n\\/\\"", []] '), [1, -50, true, false, null, 'aé\n/"', []]);
  t.same(parse('{"a": {"b": [1]}, "": 2}'), new Map<string, unknown>([["a", new Map([["b", [1]]])], ["", 2]]));
  t.equal(parse('\ufeff"mark"'), "mark");
  t.equal(parse('"\\ud83d\\ude00"'), "\u{1f600}");
  t.end();
});

t.test("names of prototypes are names like others", (t) => {
  const object = parseJsonObject(Buffer.from('{"__proto__": {"x": 1}, "constructor": 2}'), "file");
  t.same([...object.keys()], ["__proto__", "constructor"]);
  t.equal(({} as Record<string, unknown>)["x"], undefined);
  t.end();
});

t.test("refuses what is no JSON, and what JSON.parse lets through", async (t) => {
  const cases = [
    "", " ", "{", "[1,]", '{"a":1,}', "{a: 1}", "01", "1.", ".5", "+1", "NaN", "Infinity", "1e999", "nul", "tru", "'a'",
    '"a', '"\t"', '"\\x41"', '"\\u12"', "1 2", "[1] x", '{"a":1,"a":2}', '{"a" 1}', "\0", '{"a":1', "[", "]",
  ];
  for (const text of cases) await errorOf(t, () => parse(text), "CORRUPT_FILE", /^file: /);
  await errorOf(t, () => parseJson(Uint8Array.of(0x22, 0xff, 0x22), "file"), "CORRUPT_FILE", /UTF-8/);
  await errorOf(t, () => parseJsonObject(Buffer.from("[]"), "file"), "CORRUPT_FILE", /expected a JSON object, got an array of 0/);
});

t.test("deep nesting is refused before the stack is full", async (t) => {
  await errorOf(t, () => parse("[".repeat(1_000_000)), "CORRUPT_FILE", /deeper than 64/);
  t.doesNotThrow(() => parse("[".repeat(60) + "]".repeat(60)));
});
