import t from "tap";
import { radiologyPrompt, radiologyPrompts, type RadiologyPromptOptions } from "../../dist/workload/radiology.js";

const train = [
  { findings: "Heart normal .", impression: "No process ." },
  { findings: "left  effusion .", impression: "effusion ." },
  { findings: "rib\tfracture .", impression: "fracture ." },
  { findings: "nodule in the lung .", impression: "nodule ." },
  { findings: "clear .", impression: "clear lungs ." },
];

/** One token a word, line breaks count, and one more for the beginning of the sequence. */
const encode: RadiologyPromptOptions["encode"] = async (text, { addSpecialTokens }) => {
  const words = text.match(/[^\s]+|\n/g) ?? [];
  return [...(addSpecialTokens ? [2] : []), ...words.map((word) => word.length)];
};

t.test("case 0 is one line of the findings between its labels", (t) => {
  const prompt = radiologyPrompt({ case: 0, findings: "  The HEART\tis  big .\r" });
  t.equal(prompt, "### findings: the heart is big . ### impressions:");
  t.end();
});

t.test("case 5 puts the instruction on a line before the prompt of case 0", (t) => {
  t.equal(
    radiologyPrompt({ case: 5, findings: "heart big ." }),
    "summarize the present illness history of the patient.\n### findings: heart big . ### impressions:",
  );
  t.end();
});

t.test("case 1 shows one example and asks on a new line", (t) => {
  t.equal(
    radiologyPrompt({ case: 1, findings: "heart big .", examples: train.slice(0, 1) }),
    "### findings: heart normal . ### summary: no process .\n### findings: heart big . ### summary:",
  );
  t.end();
});

t.test("cases 2 and 4 separate examples by a blank line", (t) => {
  t.equal(
    radiologyPrompt({ case: 2, findings: "heart big .", examples: train.slice(0, 2) }),
    "### findings: heart normal . ### summary: no process .\n\n### findings: left effusion . ### summary: effusion .\n### findings: heart big . ### summary:",
  );
  t.equal(
    radiologyPrompt({ case: 4, findings: "x", examples: train.slice(0, 4) }),
    [
      "### findings: heart normal . ### summary: no process .",
      "",
      "### findings: left effusion . ### summary: effusion .",
      "",
      "### findings: rib fracture . ### summary: fracture .",
      "",
      "### findings: nodule in the lung . ### summary: nodule .",
      "### findings: x ### summary:",
    ].join("\n"),
  );
  t.end();
});

const reports = Array.from({ length: 40 }, (_, i) => ({ findings: `finding ${i} .`, impression: `impression ${i} .` }));

for (const [which, count] of [[0, 0], [1, 1], [2, 2], [4, 4], [5, 0]] as const) {
  t.test(`case ${which} draws ${count} examples for a report, none twice`, async (t) => {
    const { prompts, dropped } = await radiologyPrompts({ reports, train, case: which, seed: 1, encode });
    t.same(dropped, []);
    t.equal(prompts.length, reports.length);
    for (const [i, prompt] of prompts.entries()) {
      t.equal(prompt.report, i);
      t.equal(new Set(prompt.examples).size, count);
      t.ok(prompt.examples.every((line) => line >= 0 && line < train.length));
      const shown = prompt.examples.flatMap((line) => train[line] ?? []);
      t.equal(prompt.text, radiologyPrompt({ case: which, findings: reports[i]?.findings ?? "", examples: shown }));
      t.same(prompt.tokenIds, await encode(prompt.text, { addSpecialTokens: true }));
    }
  });
}

t.test("a seed draws the same examples again, whatever other reports there are; another seed draws others", async (t) => {
  const draw = async (seed: number, count: number): Promise<number[][]> =>
    (await radiologyPrompts({ reports: reports.slice(0, count), train, case: 2, seed, encode })).prompts.map((prompt) => prompt.examples);
  const all = await draw(7, 40);
  t.same(await draw(7, 40), all);
  t.same(await draw(7, 10), all.slice(0, 10));
  t.notSame(await draw(8, 40), all);
  t.equal(new Set(all.flat()).size, train.length, "every example turns up");
});

t.test("a prompt with examples of 1024 words is dropped, of 1023 kept; plain prompts are never dropped for that", async (t) => {
  const words = (count: number): string => new Array<string>(count).fill("w").join(" ");
  const one = [{ findings: "a", impression: "b" }];
  // "### findings: a ### summary: b" and "### findings: <w> ### summary:" share a word at the line break, as blanks alone are counted.
  const fixed = "### findings: a ### summary: b\n### findings:  ### summary:".split(/ +/).length;
  const long = [
    { findings: words(1023 - fixed), impression: "" },
    { findings: words(1024 - fixed), impression: "" },
  ];
  const some = await radiologyPrompts({ reports: long, train: one, case: 1, seed: 0, encode });
  t.same(some.prompts.map((prompt) => prompt.report), [0]);
  t.same(some.dropped, [1]);
  const plain = await radiologyPrompts({ reports: [{ findings: words(2000), impression: "" }], train: one, case: 0, seed: 0, encode });
  t.same(plain.dropped, []);
});

t.test("prompts of more tokens than the model takes are dropped", async (t) => {
  const { prompts, dropped } = await radiologyPrompts({
    reports: [{ findings: "a b c d", impression: "" }, { findings: "a b c d e", impression: "" }],
    train,
    case: 0,
    seed: 0,
    maxPromptTokens: 9,
    encode,
  });
  t.same(prompts.map((prompt) => prompt.tokenIds.length), [9]);
  t.same(dropped, [1]);
});

t.test("filling comes close to the length and never goes over it, at every length", async (t) => {
  const many = Array.from({ length: 60 }, (_, i) => ({
    findings: new Array<string>(3 + (i % 9)).fill(`f${i}`).join(" "),
    impression: new Array<string>(1 + (i % 4)).fill(`i${i}`).join(" "),
  }));
  for (const which of [0, 5, 2] as const) {
    for (const promptLength of [30, 31, 57, 100, 256]) {
      const { prompts, dropped } = await radiologyPrompts({ reports, train: many, case: which, seed: 3, promptLength, encode });
      t.same(dropped, [], `case ${which}, ${promptLength}: none dropped`);
      for (const prompt of prompts) {
        t.ok(prompt.tokenIds.length <= promptLength, `${prompt.tokenIds.length} of ${promptLength}`);
        // Examples take 8 to 19 words with their separator; the short ones may be used up.
        t.ok(prompt.tokenIds.length > promptLength - 16, `${prompt.tokenIds.length} comes close to ${promptLength}`);
        t.equal(new Set(prompt.examples).size, prompt.examples.length, "no example twice");
      }
    }
  }
});

t.test("a report that is longer than the length by itself is dropped", async (t) => {
  const { prompts, dropped } = await radiologyPrompts({
    reports: [{ findings: "a b c", impression: "" }, { findings: "a b c d", impression: "" }],
    train,
    case: 0,
    seed: 0,
    promptLength: 8,
    encode,
  });
  t.same(prompts.map((prompt) => prompt.examples), [[]]);
  t.same(dropped, [1]);
});

t.test("making prompts stops with the signal's reason", async (t) => {
  const signal = AbortSignal.abort(new Error("enough"));
  await t.rejects(radiologyPrompts({ reports, train, case: 0, seed: 0, encode, signal }), { message: "enough" });
});
