// How a command ends: its exit code, and what it says when it fails.

import { CommanderError } from "commander";
import { readEnvironment } from "../env.js";
import { toSplitwiserError } from "../errors.js";
import { colorsOf } from "./terminal.js";

export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Says what went wrong on stderr, without a stack unless SPLITWISER_LOG=debug, and gives the exit code. */
export function reportFailure(caught: unknown, options: { interrupted: boolean }): number {
  // Commander has printed already: help and version end well, the rest is wrong usage.
  if (caught instanceof CommanderError) return caught.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  if (options.interrupted) {
    process.stderr.write("interrupted\n");
    return exitCodes.interrupted;
  }
  const { code, message } = describeFailure(caught);
  process.stderr.write(`${colorsOf(process.stderr).red("error:")} ${message} (${code})\n`);
  if (readEnvironment().log === "debug" && caught instanceof Error) process.stderr.write(`${caught.stack ?? ""}\n`);
  return exitCodes.failed;
}

/** Errors of the system keep their own code (ENOSPC, EACCES, ...), all others get one of the library's. */
export function describeFailure(caught: unknown): { code: string; message: string } {
  const isSystemError = caught instanceof Error && "syscall" in caught && "code" in caught;
  if (isSystemError) return { code: String(caught.code), message: caught.message };
  const { code, message } = toSplitwiserError(caught);
  return { code, message };
}
