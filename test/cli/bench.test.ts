import t from "tap";
import { parseJson, splitwiser } from "./spawn.js";

interface Printed {
  rows: { schedule: string; test: string; tokensPerSecond: { median: number; min: number; max: number }; itlMs: object | null }[];
}

t.test("bench measures a prompt, a stream, and a prompt among streams under every schedule", async (t) => {
  const sizes = ["--prompt-tokens", "48", "--output-tokens", "6", "--streams", "2", "--repetitions", "2"];
  const ended = await splitwiser({ args: ["bench", ...sizes, "--json"] });
  t.equal(ended.code, 0, ended.stderr);
  const { rows } = parseJson<Printed>(ended);
  t.same(
    rows.map(({ schedule, test }) => `${schedule} ${test}`),
    ["sequential", "chunked", "split"].flatMap((schedule) => [`${schedule} pp48`, `${schedule} tg6`, `${schedule} pp48 into 2 streams`]),
  );
  for (const { test, tokensPerSecond, itlMs } of rows) {
    t.ok(tokensPerSecond.min > 0 && tokensPerSecond.min <= tokensPerSecond.median && tokensPerSecond.median <= tokensPerSecond.max);
    // Among streams there are gaps if a stream got a second token before the prompt was done.
    if (!test.includes("into")) t.equal(itlMs === null, test === "pp48", `${test}: gaps between tokens where there are any`);
  }
});

t.test("without --json bench prints a table", async (t) => {
  const args = ["bench", "--schedules", "split", "--prompt-tokens", "16", "--output-tokens", "4", "--streams", "1", "--repetitions", "1"];
  const { code, stdout } = await splitwiser({ args });
  t.equal(code, 0);
  t.match(stdout, /^schedule +test +tok\/s/m);
  t.match(stdout, /^split +pp16 /m);
});

t.test("a test that the model cannot hold is refused with the numbers", async (t) => {
  const { code, stderr } = await splitwiser({ args: ["bench", "--prompt-tokens", "4000"] });
  t.equal(code, 1);
  t.match(stderr, /2048.*4001.*\(PROMPT_TOO_LONG\)/);
});
