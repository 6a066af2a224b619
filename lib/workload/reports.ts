// Parallel text of findings and impressions: line n of one file belongs to line n of the other.

import { readFile } from "node:fs/promises";
import { SplitwiserError } from "../errors.js";

export interface Report {
  findings: string;
  impression: string;
}

/**
 * The text of a file that the user named.
 *
 * @throws SplitwiserError INVALID_OPTION: it is missing or unreadable.
 */
export async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new SplitwiserError("INVALID_OPTION", `expected ${what} at ${path}, got ${reason}: give the path of a file that can be read`, { cause });
  }
}

async function readLines(path: string): Promise<string[]> {
  const lines = (await readText(path, "reports, one a line,")).split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/**
 * Reads one report a line. Lines are kept as they are but for white space at the end of an impression.
 *
 * @throws SplitwiserError INVALID_OPTION: a file is missing or unreadable, empty, or the two differ in their number of lines.
 */
export async function readReports(paths: { findings: string; impressions: string }): Promise<Report[]> {
  const [findings, impressions] = await Promise.all([readLines(paths.findings), readLines(paths.impressions)]);
  if (findings.length !== impressions.length) {
    throw new SplitwiserError(
      "INVALID_OPTION",
      `expected as many findings as impressions, but ${paths.findings} has ${findings.length} lines and ${paths.impressions} has ${impressions.length}: line n of one must belong to line n of the other`,
    );
  }
  if (findings.length === 0) {
    throw new SplitwiserError("INVALID_OPTION", `expected at least one report, but ${paths.findings} is empty: give a file with one report a line`);
  }
  return findings.map((line, i) => ({ findings: line, impression: (impressions[i] ?? "").trimEnd() }));
}
