import { readFileSync } from "node:fs";
import t from "tap";
import { splitwiser } from "./spawn.js";

const golden = JSON.parse(
  readFileSync(new URL("../../models/splitwiser-radiology-opt/golden.json", import.meta.url), "utf8"),
) as { cases: { prompt: string; greedyText: string; greedyIds: number[] }[] };
const { prompt, greedyText, greedyIds } = golden.cases[0]!;
const quoted = JSON.stringify(prompt);

const session = (lines: string[]): ReturnType<typeof splitwiser> => splitwiser({ args: ["repl"], input: `${lines.join("\n")}\n` });

t.test("names of the session are in scope, and await works at the top level", async (t) => {
  const { code, stdout } = await session([
    "console.log([model, generate, stream, compare, timeline, devices, stats].map((value) => typeof value).join())",
    `const result = await generate(${quoted})`,
    'console.log("ids", JSON.stringify(result.tokenIds))',
    "result",
  ]);
  t.equal(code, 0);
  t.match(stdout, "object,function,function,function,function,function,function");
  t.match(stdout, `ids ${JSON.stringify(greedyIds)}`);
  t.ok(stdout.includes(greedyText), "a result prints its text");
  t.match(stdout, /first token after .* ms/);
});

t.test("a stream can be read in a loop at the top level", async (t) => {
  const { code, stdout } = await session([
    'let text = ""',
    `for await (const delta of stream(${quoted})) text += delta.text`,
    "console.log(JSON.stringify(text))",
  ]);
  t.equal(code, 0);
  t.match(stdout, JSON.stringify(greedyText));
});

t.test("compare shows the schedules side by side, says that tokens are identical, and restores the schedule", async (t) => {
  const { code, stdout } = await session([
    'await model.configure({ schedule: "chunked" })',
    `const compared = await compare([${quoted}, "### findings: lungs clear . ### impressions:"], { maxTokens: 12 })`,
    "compared",
    'console.log(compared.identicalTokens, stats().schedule.asked, compared.schedules.map((row) => row.schedule).join())',
  ]);
  t.equal(code, 0);
  t.match(stdout, /^schedule +TTFT p50 \/ p99 +ITL p50 \/ p99 \/ max/m);
  for (const schedule of ["sequential", "chunked", "split"]) t.match(stdout, new RegExp(`^${schedule} +\\d`, "m"));
  t.match(stdout, /^identical tokens: yes$/m);
  t.match(stdout, "true chunked sequential,chunked,split");
});

t.test("timeline, devices and stats print themselves as tables and stay values", async (t) => {
  const { code, stdout } = await session([
    `await generate(${quoted}, { maxTokens: 4 })`,
    "timeline({ steps: 5 })",
    "devices()",
    "stats()",
    'console.log(timeline().every((event) => event.endMs >= event.startMs), devices()[0].id, stats().running)',
  ]);
  t.equal(code, 0);
  t.match(stdout, /^lane +phase +start ms/m);
  t.match(stdout, /^cpu +yes/m);
  t.match(stdout, /^decode lane .* steps$/m);
  t.match(stdout, "true cpu 0");
});

t.test("an error is shown with its code and the session goes on", async (t) => {
  const { code, stdout } = await session(['await generate("a", { maxTokens: 0 })', 'console.log("still", "here")']);
  t.equal(code, 0);
  t.match(stdout, /SplitwiserError: maxTokens.*\(INVALID_OPTION\)/);
  t.match(stdout, "still here");
});

t.test("SIGINT aborts the running request and keeps the session", async (t) => {
  const { code, stdout } = await splitwiser({
    args: ["repl"],
    input: [
      "let seen = 0",
      `for await (const delta of model.stream(${quoted}, { ignoreEos: true, maxTokens: 1900 })) if (seen++ === 3) console.log("go")`,
      'console.log("still", "here", stats().running)',
      "",
    ].join("\n"),
    kill: { signal: "SIGINT", when: (printed) => printed.includes("go") },
  });
  t.equal(code, 0);
  t.match(stdout, /AbortError: .*\(ABORTED\)/);
  t.match(stdout, "still here 0");
});
