// The ring of the last steps in Chrome's trace format, which Perfetto and chrome://tracing open.
// Format: "Trace Event Format" (Chromium project): complete events ("X") with microseconds, metadata events ("M") for names.
import { writeFile } from "node:fs/promises";

import { messageOf, SplitwiserError } from "./errors.js";
import { checkFields, checkInteger, invalidOption } from "./validate.js";
import type { TimelineEvent } from "./types.js";

const defaultSteps = 1000;

export function checkTimelineOptions(options: unknown): number {
  const { steps } = checkFields("timeline options", options, ["steps"]);
  return steps === undefined ? defaultSteps : checkInteger("steps", steps, { min: 1, max: 1e7 });
}

const processId = 1;
const threadIds = { prefill: 1, decode: 2 } as const;

export function toChromeTrace(events: readonly TimelineEvent[], processName: string): object {
  const metadata = (name: string, tid: number, args: object) => ({ name, ph: "M", pid: processId, tid, args });
  return {
    displayTimeUnit: "ms",
    traceEvents: [
      metadata("process_name", 0, { name: processName }),
      ...(["prefill", "decode"] as const).flatMap((lane) => [
        metadata("thread_name", threadIds[lane], { name: `${lane} lane` }),
        metadata("thread_sort_index", threadIds[lane], { sort_index: threadIds[lane] }),
      ]),
      ...events.map((event) => {
        // Rounded ends, not rounded lengths: neighbours that touch still touch and never overlap.
        const start = Math.round(event.startMs * 1000);
        const end = Math.round(event.endMs * 1000);
        return {
          name: `${event.phase} ${event.tokens} token${event.tokens === 1 ? "" : "s"}`,
          cat: event.phase,
          ph: "X",
          ts: start,
          dur: end - start,
          pid: processId,
          tid: threadIds[event.lane],
          args: { requests: event.requests, tokens: event.tokens, partition: event.partition, sharedSms: event.sharedSms },
        };
      }),
    ],
  };
}

export async function writeTimeline(path: unknown, events: readonly TimelineEvent[], processName: string): Promise<void> {
  if (typeof path !== "string" || path === "") throw invalidOption("path", "the name of a file", path);
  try {
    await writeFile(path, `${JSON.stringify(toChromeTrace(events, processName))}\n`);
  } catch (error) {
    throw new SplitwiserError("INVALID_OPTION", `path: "${path}" cannot be written: ${messageOf(error)}`, { cause: error });
  }
}
