// Running a small program in a Node process of its own: for exits, crashes and flags that a test's own process cannot have.

import { spawn } from "node:child_process";

import { libraryUrl } from "./paths.js";

export interface ScriptResult {
  /** null: it was ended by a signal. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** It was still running at the limit and was ended. */
  hung: boolean;
}

/** What every script begins with. */
const preamble = `
import { loadModel, devices, SplitwiserError } from ${JSON.stringify(libraryUrl)};
const ids = (length, seed = 1) => Array.from({ length }, (_, i) => 4 + ((i * 7919 + seed * 104729) % 390));
const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
`;

/** Runs module code after the preamble; what it \`say\`s comes back on stdout, one JSON value a line. */
export function runScript(
  code: string,
  options: { flags?: string[]; env?: Record<string, string>; limitMs?: number } = {},
): Promise<ScriptResult> {
  // tap's own hooks ride on NODE_OPTIONS; the program under test runs without them.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== "NODE_OPTIONS"));
  const flags = options.flags ?? [];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...flags, "--input-type=module", "-e", preamble + code], {
      env: { ...env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    let hung = false;
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const limit = setTimeout(() => {
      hung = true;
      child.kill("SIGKILL");
    }, options.limitMs ?? 60_000);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, stdout, stderr, hung });
    });
  });
}

/** The JSON values that a script said. */
export function said(result: ScriptResult): unknown[] {
  return result.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}
