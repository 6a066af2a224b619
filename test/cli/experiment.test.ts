import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { parseJson, splitwiser } from "./spawn.js";

interface Summary {
  case: number;
  reports: number;
  dropped: number;
  identicalTokens: boolean;
  meanPromptTokens: number;
  cutShare: number;
  maxTokens: number;
  batch: number;
  promptLength: number | null;
  rouge: Record<"rouge1" | "rouge2" | "rougeL", { f1: number }>;
  bleu: { score: number };
  arms: { schedule: string; ratio: { median: number; min: number; max: number } }[];
  files: string[];
}

function makeFolder(t: Tap): string {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}
type Tap = Pick<typeof t, "teardown">;

const bundled = (name: string): string[] =>
  readFileSync(new URL(`../../models/radiology-data/${name}`, import.meta.url), "utf8").trimEnd().split("\n");

t.test("a small run writes all files, summarises well, and gives the same tokens under all schedules", async (t) => {
  const out = join(makeFolder(t), "run");
  const ended = await splitwiser({ args: ["experiment", "radiology", "--limit", "25", "--rounds", "2", "--out", out] });
  t.equal(ended.code, 0, ended.stderr);
  t.match(ended.stdout, /^identical tokens: yes \(3 schedules x 2 rounds x 25 reports\)$/m);
  for (const schedule of ["sequential", "chunked", "split"]) t.match(ended.stdout, new RegExp(`^${schedule} .*x \\(`, "m"));
  t.match(ended.stdout, /ROUGE-1 \/ ROUGE-2 \/ ROUGE-L: 0\.\d{3}/);
  t.ok(ended.stdout.includes(out), "says where the files are");
  t.equal(ended.stderr, "", "no progress where nobody looks at it");
  t.notMatch(ended.stdout, "\u001b");
  const wanted = ["finding.csv", "metrics.json", "summary_gen.csv", "summary_ref.csv", "timeline.json", "timings.csv"];
  t.same(readdirSync(out).sort(), wanted);

  const read = (name: string): string => readFileSync(join(out, name), "utf8");
  const metrics = JSON.parse(read("metrics.json")) as Summary;
  t.equal(metrics.identicalTokens, true);
  t.equal(metrics.reports, 25);
  t.ok(metrics.rouge.rougeL.f1 >= 0.95, `ROUGE-L is ${metrics.rouge.rougeL.f1}`);
  t.ok(metrics.bleu.score > 80, `BLEU is ${metrics.bleu.score}`);
  t.same(metrics.arms.map(({ schedule }) => schedule), ["sequential", "chunked", "split"]);

  const unquote = (text: string): string[] => text.trimEnd().split("\n").map((line) => line.replace(/^"(.*)"$/, "$1").replaceAll('""', '"'));
  t.same(unquote(read("finding.csv")), bundled("test.findings.tok").slice(0, 25));
  t.same(unquote(read("summary_ref.csv")), bundled("test.impression.tok").slice(0, 25));
  t.equal(unquote(read("summary_gen.csv")).length, 25);
  const timings = read("timings.csv").trimEnd().split("\n");
  t.equal(timings.length, 1 + 3 * 2 * 25);
  t.match(timings[0], /^arm,round,report,/);
  const trace = JSON.parse(read("timeline.json")) as { traceEvents: { ph: string }[] };
  t.ok(trace.traceEvents.some(({ ph }) => ph === "X"));
});

t.test("--json prints one document with what metrics.json holds", async (t) => {
  const out = makeFolder(t);
  const ended = await splitwiser({
    args: ["experiment", "radiology", "--case", "2", "--limit", "4", "--rounds", "1", "--arms", "split,sequential", "--out", out, "--json"],
  });
  t.equal(ended.code, 0, ended.stderr);
  const printed = parseJson<Summary>(ended);
  t.match(printed, { case: 2, reports: 4, identicalTokens: true, promptLength: null });
  t.same(printed.arms.map(({ schedule }) => schedule), ["split", "sequential"]);
  t.match(printed, JSON.parse(readFileSync(join(out, "metrics.json"), "utf8")));
  for (const file of printed.files) t.ok(existsSync(join(out, file)), file);
});

t.test("--preset paper fills prompts close to 1024 tokens and makes 12 tokens", async (t) => {
  const ended = await splitwiser({
    args: ["experiment", "radiology", "--preset", "paper", "--limit", "2", "--rounds", "1", "--arms", "split", "--out", makeFolder(t), "--json"],
  });
  t.equal(ended.code, 0, ended.stderr);
  const printed = parseJson<Summary>(ended);
  t.match(printed, { batch: 20, maxTokens: 12, promptLength: 1024, reports: 2, dropped: 0 });
  t.ok(printed.meanPromptTokens > 980 && printed.meanPromptTokens <= 1024, `mean length is ${printed.meanPromptTokens}`);
});

t.test("what a preset sets can be set otherwise", async (t) => {
  const args = ["experiment", "radiology", "--preset", "paper", "--prompt-length", "200", "--batch", "3", "--max-tokens", "2"];
  const ended = await splitwiser({ args: [...args, "--limit", "4", "--rounds", "1", "--out", makeFolder(t), "--json"] });
  const printed = parseJson<Summary>(ended);
  t.match(printed, { batch: 3, maxTokens: 2, promptLength: 200 });
  t.ok(printed.meanPromptTokens <= 200);
  t.ok(printed.cutShare > 0.9, "two tokens cut nearly every output");
});

t.test("one's own reports are taken, with commas and quotes in them", async (t) => {
  const folder = makeFolder(t);
  const [findings, impressions] = [join(folder, "f.tok"), join(folder, "i.tok")];
  writeFileSync(findings, 'The  HEART is "big" , yes .\nlungs are clear .\n');
  writeFileSync(impressions, 'cardiomegaly , "mild" .\nnormal .\n');
  const args = ["experiment", "radiology", "--findings", findings, "--impressions", impressions, "--rounds", "1", "--out", join(folder, "out")];
  const ended = await splitwiser({ args });
  t.equal(ended.code, 0, ended.stderr);
  t.equal(readFileSync(join(folder, "out", "finding.csv"), "utf8"), '"the heart is ""big"" , yes ."\nlungs are clear .\n');
  t.equal(readFileSync(join(folder, "out", "summary_ref.csv"), "utf8"), '"cardiomegaly , ""mild"" ."\nnormal .\n');
});

t.test("a length that the model cannot hold is refused with the numbers", async (t) => {
  const { code, stderr } = await splitwiser({ args: ["experiment", "radiology", "--prompt-length", "5000", "--out", makeFolder(t)] });
  t.equal(code, 1);
  t.match(stderr, /within 2048 tokens.*5000.*\(PROMPT_TOO_LONG\)/);
});

t.test("SIGINT in the middle of the runs ends with 130", async (t) => {
  const out = join(makeFolder(t), "run");
  const timer = { started: 0 };
  const { code, stdout, stderr } = await splitwiser({
    args: ["experiment", "radiology", "--limit", "0", "--rounds", "50", "--out", out],
    env: { SPLITWISER_LOG: "info" },
    // The library says on stderr when the model is loaded; runs follow.
    kill: { signal: "SIGINT", when: (_stdout, said) => said.length > 0 && (timer.started ||= 1) === 1 },
  });
  t.equal(code, 130);
  t.equal(stdout, "");
  t.match(stderr, /interrupted/);
  t.same(readdirSync(out), [], "nothing half-written");
});
