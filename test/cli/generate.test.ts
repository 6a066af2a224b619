import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { parseJson, splitwiser } from "./spawn.js";

interface GoldenCase {
  name: string;
  prompt: string;
  promptIds: number[];
  greedyIds: number[];
  greedyText: string;
  finishReason: string;
}
const golden = JSON.parse(
  readFileSync(new URL("../../models/splitwiser-radiology-opt/golden.json", import.meta.url), "utf8"),
) as { cases: GoldenCase[] };

interface Printed {
  text: string;
  tokenIds: number[];
  finishReason: string;
  promptTokens: number;
  schedule: string;
  timing: { ttftMs: number; itlMs: number[] };
}

const first = golden.cases[0]!;

for (const schedule of ["sequential", "chunked", "split"]) {
  t.test(`generate --json gives the golden's tokens and text under ${schedule}`, async (t) => {
    const ended = await splitwiser({ args: ["generate", "--prompt", first.prompt, "--schedule", schedule, "--json"] });
    const printed = parseJson<Printed>(ended);
    t.equal(ended.code, 0);
    t.equal(ended.stderr, "", "no progress where nobody looks at it");
    t.same(printed.tokenIds, first.greedyIds);
    t.equal(printed.text, first.greedyText);
    t.equal(printed.finishReason, first.finishReason);
    t.equal(printed.promptTokens, first.promptIds.length);
    t.equal(printed.schedule, schedule);
    t.equal(printed.timing.itlMs.length, first.greedyIds.length - 1);
    t.ok(printed.timing.ttftMs > 0);
  });
}

t.test("token ids and a prompt from a file or stdin give the same output as the text", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "prompt.txt");
  writeFileSync(file, `${first.prompt}\n`);
  const ways = [
    await splitwiser({ args: ["generate", "--ids", first.promptIds.join(","), "--json"] }),
    await splitwiser({ args: ["generate", "--file", file, "--json"] }),
    await splitwiser({ args: ["generate", "--file", "-", "--json"], input: first.prompt }),
  ];
  for (const ended of ways) t.same(parseJson<Printed>(ended).tokenIds, first.greedyIds);
});

t.test("without --json stdout is the text and a line break, nothing else and no colour", async (t) => {
  const { code, stdout, stderr } = await splitwiser({ args: ["generate", "--prompt", first.prompt] });
  t.equal(code, 0);
  t.equal(stdout, `${first.greedyText}\n`);
  t.equal(stderr, "");
});

t.test("--max-tokens cuts, --ignore-eos goes on, --stop ends at a text, --seed repeats drawn tokens", async (t) => {
  const run = async (...more: string[]): Promise<Printed> =>
    parseJson<Printed>(await splitwiser({ args: ["generate", "--prompt", first.prompt, "--json", ...more] }));
  const cut = await run("--max-tokens", "3");
  t.same(cut.tokenIds, first.greedyIds.slice(0, 3));
  t.equal(cut.finishReason, "length");
  t.equal((await run("--ignore-eos", "--max-tokens", "40")).tokenIds.length, 40);
  const stopped = await run("--stop", " .");
  t.equal(stopped.finishReason, "stop");
  t.equal(stopped.text, first.greedyText.slice(0, first.greedyText.indexOf(" .")));
  const drawn = ["--temperature", "1", "--seed", "7", "--top-k", "50"];
  t.same((await run(...drawn)).tokenIds, (await run(...drawn)).tokenIds);
});

t.test("ids outside of the vocabulary are one error line with its code", async (t) => {
  const { code, stdout, stderr } = await splitwiser({ args: ["generate", "--ids", "1,99999999"] });
  t.equal(code, 1);
  t.equal(stdout, "");
  t.match(stderr, /^error: .*\(INVALID_OPTION\)\n$/s);
});

t.test("SIGINT during generation ends with 130 and no stack", async (t) => {
  const { code, stderr } = await splitwiser({
    args: ["generate", "--prompt", first.prompt, "--ignore-eos", "--max-tokens", "1900"],
    kill: { signal: "SIGINT", when: (stdout) => stdout.length > 0 },
  });
  t.equal(code, 130);
  t.notMatch(stderr, /^ +at /m);
});
