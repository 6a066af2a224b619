// Where the library says things: onLog, and stderr when SPLITWISER_LOG asks for it. Nothing else prints.
import { readEnvironment } from "./env.js";
import type { LogLevel, LogRecord } from "./types.js";

export type Log = (level: LogLevel, message: () => string) => void;

const ranks: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3 };

function isLevel(word: string): word is LogLevel {
  return Object.hasOwn(ranks, word);
}

/** Messages are functions, so that nobody pays for text that nobody reads. */
export function makeLog(onLog: ((record: LogRecord) => void) | undefined): Log {
  const wanted = readEnvironment().log?.trim().toLowerCase() ?? "";
  // Any other non-empty word ("1", "true") means that the user wants to see something.
  const printed = wanted === "" || wanted === "0" ? -1 : isLevel(wanted) ? ranks[wanted] : ranks.info;
  return (level, message) => {
    const print = ranks[level] <= printed;
    if (!onLog && !print) return;
    const text = message();
    if (print) process.stderr.write(`splitwiser ${level}: ${text}\n`);
    try {
      onLog?.({ level, message: text });
    } catch (error) {
      // A broken listener must not break the request that had something to say.
      if (printed >= 0) process.stderr.write(`splitwiser error: onLog threw: ${String(error)}\n`);
    }
  };
}
