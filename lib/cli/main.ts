#!/usr/bin/env node
// The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../addon.js";
import { addBench } from "./bench.js";
import { addExperiment } from "./experiment.js";
import { describeFailure, exitCodes, reportFailure } from "./failure.js";
import { addGenerate } from "./generate.js";
import { addInspect } from "./inspect.js";
import { watchInterrupt } from "./interrupt.js";
import { addRepl } from "./repl.js";
import type { Runner } from "./runner.js";
import { printJson } from "./terminal.js";

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return manifest.version;
}

async function main(argv: readonly string[]): Promise<number> {
  const interrupt = watchInterrupt();
  let exitCode: number = exitCodes.done;
  let json = false;
  const run: Runner = (action) => async (given) => {
    json = typeof given === "object" && given !== null && "json" in given && given.json === true;
    exitCode = (await action(given, { signal: interrupt.signal, releaseInterrupt: interrupt.release })) ?? exitCodes.done;
  };
  const program = new Command("splitwiser")
    .description("Runs language models with prefill and decode at the same time, and times every phase.")
    .version(packageVersion())
    .exitOverride()
    .showHelpAfterError("(--help says how it is used)");
  addGenerate(program, run);
  addInspect(program, run);
  addExperiment(program, run);
  addBench(program, run);
  addRepl(program, run);
  try {
    await program.parseAsync(argv);
    return interrupt.signal.aborted ? exitCodes.interrupted : exitCode;
  } catch (error) {
    const code = reportFailure(error, { interrupted: interrupt.signal.aborted });
    if (json && code === exitCodes.failed) printJson({ error: describeFailure(error) });
    return code;
  } finally {
    interrupt.release();
  }
}

// A reader that has seen enough ("| head") is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.done);
  throw error;
});

main(process.argv).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.exitCode = reportFailure(error, { interrupted: false });
  },
);
