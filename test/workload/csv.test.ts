import t from "tap";
import { csvField, csvText } from "../../dist/workload/csv.js";

t.test("only fields with a comma, a quote or a line break are quoted, and quotes are doubled", (t) => {
  t.equal(csvField("plain text ."), "plain text .");
  t.equal(csvField("one , two"), '"one , two"');
  t.equal(csvField('say "x"'), '"say ""x"""');
  t.equal(csvField("a\nb"), '"a\nb"');
  t.equal(csvField("a\rb"), '"a\rb"');
  t.equal(csvField(" kept "), " kept ");
  t.end();
});

t.test("numbers keep their digits, null is an empty field", (t) => {
  t.equal(csvText([["a", "b", "c"], [1.25, null, "x"]]), "a,b,c\n1.25,,x\n");
  t.end();
});

t.test("no rows give an empty text", (t) => {
  t.equal(csvText([]), "");
  t.end();
});
