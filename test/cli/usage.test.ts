import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { splitwiser } from "./spawn.js";

t.jobs = 2;

const commands = [["generate"], ["inspect"], ["repl"], ["bench"], ["experiment"], ["experiment", "radiology"]];

for (const command of [[], ...commands]) {
  t.test(`help of "splitwiser ${command.join(" ")}" goes to stdout and ends well`, async (t) => {
    const { code, stdout, stderr } = await splitwiser({ args: [...command, "--help"] });
    t.equal(code, 0);
    t.match(stdout, `Usage: ${["splitwiser", ...command].join(" ")}`);
    t.equal(stderr, "");
  });
}

t.test("the help names every command that is there and none that is not", async (t) => {
  const { stdout } = await splitwiser({ args: ["--help"] });
  const named = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1]);
  t.same(named, ["generate", "inspect", "experiment", "bench", "repl", "help"]);
});

t.test("the version is the package's", async (t) => {
  const { code, stdout } = await splitwiser({ args: ["--version"] });
  t.equal(code, 0);
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

const wrong: [string, string[], RegExp][] = [
  ["no command", [], /Usage: splitwiser/],
  ["an unknown command", ["nonsense"], /unknown command 'nonsense'/],
  ["a command of later versions", ["chat"], /unknown command 'chat'/],
  ["an unknown option", ["generate", "--prompt", "a", "--fast"], /unknown option '--fast'/],
  ["a misspelt option", ["generate", "--promt", "a"], /Did you mean --prompt\?/],
  ["an experiment without name", ["experiment"], /Usage: splitwiser experiment/],
  ["no prompt", ["generate"], /exactly one of --prompt, --ids and --file, got none/],
  ["two prompts", ["generate", "--prompt", "a", "--ids", "1"], /exactly one of --prompt, --ids and --file, got 2/],
  ["an option without its value", ["generate", "--prompt"], /argument missing/],
  ["zero tokens", ["generate", "--prompt", "a", "--max-tokens", "0"], /at least 1/],
  ["a fraction of a token", ["generate", "--prompt", "a", "--max-tokens", "1.5"], /at least 1/],
  ["a temperature below 0", ["generate", "--prompt", "a", "--temperature", "-1"], /at least 0/],
  ["a temperature that is no number", ["generate", "--prompt", "a", "--temperature", "NaN"], /at least 0/],
  ["ids that are no numbers", ["generate", "--ids", "1,two"], /at least 0/],
  ["negative ids", ["generate", "--ids=-1"], /at least 0/],
  ["an unknown schedule", ["generate", "--prompt", "a", "--schedule", "fast"], /Allowed choices are sequential, chunked, split, auto/],
  ["an unknown device", ["inspect", "--device", "tpu"], /Expected "auto", "cpu"/],
  ["an unknown type", ["inspect", "--dtype", "f8"], /Allowed choices/],
  ["an unknown case", ["experiment", "radiology", "--case", "3"], /Allowed choices are 0, 1, 2, 4, 5/],
  ["an unknown preset", ["experiment", "radiology", "--preset", "mine"], /Allowed choices are paper/],
  ["an unknown arm", ["experiment", "radiology", "--arms", "split,fast"], /sequential,chunked,split/],
  ["an arm twice", ["experiment", "radiology", "--arms", "split,split"], /no word twice/],
  ["findings without impressions", ["experiment", "radiology", "--findings", "a"], /--impressions is missing/],
  ["train impressions without findings", ["experiment", "radiology", "--train-impressions", "a"], /--train-findings is missing/],
  [
    "examples for one's own reports without training files",
    ["experiment", "radiology", "--case", "2", "--findings", "a", "--impressions", "b"],
    /need --train-findings and --train-impressions/,
  ],
];

for (const [what, args, said] of wrong) {
  t.test(`${what}: exit code 2, said on stderr, stdout empty`, async (t) => {
    const { code, stdout, stderr } = await splitwiser({ args });
    t.equal(code, 2);
    t.equal(stdout, "");
    t.match(stderr, said);
    t.notMatch(stderr, /^ +at /m, "no stack");
  });
}

t.test("reports that are missing or do not match are named before anything is loaded", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [two, three, empty] = [join(folder, "two.tok"), join(folder, "three.tok"), join(folder, "empty.tok")];
  writeFileSync(two, "a\nb\n");
  writeFileSync(three, "a\nb\nc");
  writeFileSync(empty, "");
  const run = (findings: string, impressions: string): ReturnType<typeof splitwiser> =>
    splitwiser({ args: ["experiment", "radiology", "--findings", findings, "--impressions", impressions, "--out", join(folder, "out")] });
  const missing = await run(two, join(folder, "none.tok"));
  t.equal(missing.code, 1);
  t.match(missing.stderr, /none\.tok.*ENOENT.*\(INVALID_OPTION\)/);
  const unequal = await run(two, three);
  t.equal(unequal.code, 1);
  t.match(unequal.stderr, /two\.tok has 2 lines.*three\.tok has 3/);
  const none = await run(empty, empty);
  t.equal(none.code, 1);
  t.match(none.stderr, /empty\.tok is empty/);
});

t.test("a prompt file that is missing is named", async (t) => {
  const { code, stderr, stdout } = await splitwiser({ args: ["generate", "--file", "/nowhere/prompt.txt"] });
  t.equal(code, 1);
  t.match(stderr, /\/nowhere\/prompt\.txt.*ENOENT.*\(INVALID_OPTION\)/);
  t.equal(stdout, "");
});

t.test("a stack is shown with SPLITWISER_LOG=debug only; with --json the error is the document", async (t) => {
  const args = ["generate", "--file", "/nowhere/prompt.txt", "--json"];
  const quiet = await splitwiser({ args });
  t.notMatch(quiet.stderr, /^ +at /m);
  t.match(JSON.parse(quiet.stdout), { error: { code: "INVALID_OPTION", message: /prompt\.txt/ } });
  const loud = await splitwiser({ args, env: { SPLITWISER_LOG: "debug" } });
  t.match(loud.stderr, /^ +at /m);
});

t.test("a model that is not there is one error line", async (t) => {
  const { code, stderr } = await splitwiser({ args: ["generate", "--model", "/nowhere/model", "--prompt", "a"] });
  t.equal(code, 1);
  t.match(stderr, /^error: .*\(MODEL_NOT_FOUND\)\n$/s);
});
