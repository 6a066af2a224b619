// Stamps of native code into the times that users read.
import type { NativeTiming } from "./native.js";
import type { RequestTiming } from "./types.js";

export function toRequestTiming(native: NativeTiming): RequestTiming {
  const { submittedMs, startedMs, endMs, tokenMs } = native;
  const count = tokenMs.length;
  const first = tokenMs[0];
  const last = tokenMs[count - 1];
  const ttftMs = first === undefined ? null : first - submittedMs;
  const e2eMs = endMs - submittedMs;
  const itlMs: number[] = [];
  for (let i = 1; i < count; i++) itlMs.push((tokenMs[i] ?? 0) - (tokenMs[i - 1] ?? 0));
  return {
    submittedMs,
    queueMs: (startedMs ?? endMs) - submittedMs,
    prefillMs: first === undefined || startedMs === null || native.prefillTokens === 0 ? null : first - startedMs,
    ttftMs,
    decodeMs: first === undefined || last === undefined || count < 2 ? null : last - first,
    itlMs,
    tpotMs: ttftMs === null || count < 2 ? null : (e2eMs - ttftMs) / (count - 1),
    e2eMs,
    phases: native.spans.map((span) => ({
      phase: span.phase,
      startMs: span.startMs - submittedMs,
      endMs: span.endMs - submittedMs,
      lane: span.lane,
      tokens: span.tokens,
    })),
    prefillTokens: native.prefillTokens,
    decodeTokens: native.decodeTokens,
    preemptions: native.preemptions,
  };
}

/** Of a request that ended before native code saw it. */
export function unsubmittedTiming(): RequestTiming {
  return {
    submittedMs: 0,
    queueMs: 0,
    prefillMs: null,
    ttftMs: null,
    decodeMs: null,
    itlMs: [],
    tpotMs: null,
    e2eMs: 0,
    phases: [],
    prefillTokens: 0,
    decodeTokens: 0,
    preemptions: 0,
  };
}
