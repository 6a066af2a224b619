// Runs commands as a user of the package would: npm without what `npm test` left in the environment.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The name of a check on how a command ended, with all that it said when it failed. */
export function ended(ran: Ran, name: string): string {
  return ran.code === 0 ? name : `${name}\n${ran.stdout}${ran.stderr}`;
}

export interface RunOptions {
  cwd?: string;
  path?: string;
}

export function run(command: string, args: readonly string[], { cwd = root, path = process.env["PATH"] }: RunOptions = {}): Ran {
  // npm run sets npm_package_*, npm_lifecycle_* and more, and tap its loader: none of them belongs to the user's shell.
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_(package|lifecycle|command|config_(local|loglevel))|TAP|NODE_OPTIONS)/i.test(name));
  const result = spawnSync(command, args, {
    cwd,
    env: { ...Object.fromEntries(kept), PATH: path },
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error !== undefined) throw result.error;
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

export function runNode(args: readonly string[], options?: RunOptions): Ran {
  return run(process.execPath, args, options);
}

function npmScript(): string {
  const beside = join(dirname(dirname(process.execPath)), "lib/node_modules/npm/bin/npm-cli.js");
  const running = process.env["npm_execpath"];
  if (running !== undefined && /npm-cli\.[cm]?js$/.test(running)) return running;
  if (existsSync(beside)) return beside;
  throw new Error("npm was not found: expected it beside node, or this test under `npm run`");
}

export function npm(args: readonly string[], options?: RunOptions): Ran {
  return runNode([npmScript(), ...args], options);
}
