// Runs the built command line as a user would.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface SpawnOptions {
  args: string[];
  /** Given to stdin, which is closed then. Default: nothing. */
  input?: string;
  /** Kills with this signal as soon as `when` says so of what has been printed so far. */
  kill?: { signal: NodeJS.Signals; when: (stdout: string, stderr: string) => boolean };
  env?: Record<string, string>;
  cwd?: string;
}

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export function splitwiser({ args, input, kill, env, cwd }: SpawnOptions): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // Nothing of the test runner's own environment (loaders, coverage) goes to the command.
    const runners = ["NODE_OPTIONS", "NODE_V8_COVERAGE", "SPLITWISER_LOG"];
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !runners.includes(name)));
    const child = spawn(process.execPath, [main, ...args], { env: { ...inherited, ...env }, ...(cwd === undefined ? {} : { cwd }) });
    let stdout = "";
    let stderr = "";
    let killed = false;
    const look = (): void => {
      if (kill === undefined || killed || !kill.when(stdout, stderr)) return;
      killed = child.kill(kill.signal);
    };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      look();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      look();
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? "");
  });
}

/** Fails with what was printed when stdout is not one JSON document. */
export function parseJson<T>({ stdout, stderr, code }: Ended): T {
  try {
    return JSON.parse(stdout) as T;
  } catch (cause) {
    throw new Error(`no JSON on stdout (exit code ${code}): ${stdout}\n${stderr}`, { cause });
  }
}
