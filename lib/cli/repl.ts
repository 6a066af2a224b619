// splitwiser repl: a Node REPL with a loaded model in scope.

import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { start, writer as defaultWriter, type REPLServer } from "node:repl";
import { PassThrough } from "node:stream";
import { inspect } from "node:util";
import type { Command } from "commander";
import { readEnvironment } from "../env.js";
import { SplitwiserError } from "../errors.js";
import type { Model } from "../index.js";
import type { ScheduleOption } from "../types.js";
import { addModelOptions, scheduleOption, type ModelArguments } from "./arguments.js";
import { exitCodes } from "./failure.js";
import { withModel } from "./open.js";
import { replContext } from "./repl-context.js";
import { trackRequests, type RunningRequests } from "./repl-requests.js";
import type { Runner } from "./runner.js";
import { colorsOf, isTerminal } from "./terminal.js";

interface ReplArguments extends ModelArguments {
  schedule: ScheduleOption;
}

export function addRepl(program: Command, run: Runner): void {
  const command = program
    .command("repl")
    .description("A Node REPL with a loaded model in scope: model, generate, stream, compare, timeline, devices, stats. Ctrl-C aborts what runs.");
  addModelOptions(command, { json: false })
    .addOption(scheduleOption())
    .action(run(async (given: ReplArguments, { signal, releaseInterrupt }) =>
      withModel({ given, options: { schedule: given.schedule }, signal }, async (model) => {
        releaseInterrupt();
        return runSession(model, given.model);
      }),
    ));
}

/** Resolves with the exit code when the session ends. */
async function runSession(model: Model, name: string): Promise<number> {
  const terminal = isTerminal(process.stdin) && isTerminal(process.stdout);
  const colors = colorsOf(process.stdout);
  const requests = trackRequests(model);
  const context = replContext(model, colors);
  if (terminal) {
    process.stdout.write(`${name} on ${model.device.id} (${model.device.name}). In scope: ${Object.keys(context).join(", ")}\n`);
  }
  const server = start({
    prompt: terminal ? "splitwiser> " : "",
    input: terminal ? process.stdin : new PassThrough(),
    output: process.stdout,
    terminal,
    ignoreUndefined: true,
    useColors: terminal,
    // One realm: typed arrays made at the prompt are those that the library knows.
    useGlobal: true,
    // On a terminal Ctrl-C is a key, which would wait in line behind an await without this. Elsewhere it is a signal, of which this would
    // take our handler away.
    breakEvalOnSigint: terminal,
    writer: valueText(terminal),
  });
  Object.assign(server.context, context);
  if (terminal) await keepHistory(server);
  return new Promise((resolve) => {
    let code: number = exitCodes.done;
    const onInterrupt = (): void => {
      if (requests.abort() > 0) return;
      code = exitCodes.interrupted;
      server.close();
    };
    abortOnCtrlC(server, requests);
    process.on("SIGINT", onInterrupt);
    server.once("exit", () => {
      process.off("SIGINT", onInterrupt);
      resolve(code);
    });
    if (server.input instanceof PassThrough) feedLines(server, server.input).catch(() => server.close());
  });
}

/**
 * Lines of a pipe, each when the session has come back to its prompt: Node's own REPL waits for an await on a terminal only, and would end
 * the session with the pipe.
 */
async function feedLines(server: REPLServer, input: PassThrough): Promise<void> {
  let atPrompt = (): void => undefined;
  let ended = false;
  const displayPrompt = server.displayPrompt.bind(server);
  server.displayPrompt = (preserveCursor) => {
    displayPrompt(preserveCursor);
    atPrompt();
  };
  server.once("exit", () => {
    ended = true;
    atPrompt();
  });
  for await (const line of createInterface({ input: process.stdin })) {
    await new Promise<void>((resolve) => {
      atPrompt = resolve;
      input.write(`${line}\n`);
    });
    if (ended) return;
  }
  input.end();
}

/** Ctrl-C on a terminal is a key: while requests run it aborts them, else it means what it means in every Node REPL. */
function abortOnCtrlC(server: REPLServer, requests: RunningRequests): void {
  const usual = server.listeners("SIGINT");
  server.removeAllListeners("SIGINT");
  server.on("SIGINT", () => {
    if (requests.abort() > 0) return;
    for (const listener of usual) Reflect.apply(listener, server, []);
  });
}

function valueText(colors: boolean): (value: unknown) => string {
  return (value) => {
    if (value instanceof SplitwiserError && readEnvironment().log !== "debug") return `${value.name}: ${value.message} (${value.code})`;
    return inspect(value, { ...defaultWriter.options, colors });
  };
}

/** In the user's folder of state (XDG base directories). A session without history is better than none. */
async function keepHistory(server: REPLServer): Promise<void> {
  const state = process.env["XDG_STATE_HOME"];
  const file = join(state === undefined || state === "" ? join(homedir(), ".local", "state") : state, "splitwiser", "history");
  try {
    await mkdir(dirname(file), { recursive: true });
  } catch {
    return;
  }
  await new Promise<void>((resolve) => server.setupHistory(file, () => resolve()));
}
