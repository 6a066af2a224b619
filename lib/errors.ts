// Errors of the public face: one class, a code from a closed union.
import type { Completion } from "./types.js";

/** Every code that an error of this library can carry. */
export const errorCodes = [
  "INVALID_OPTION",
  "MODEL_NOT_FOUND",
  "UNSUPPORTED_MODEL",
  "CORRUPT_FILE",
  "OUT_OF_MEMORY",
  "PROMPT_TOO_LONG",
  "DEVICE_UNAVAILABLE",
  "DEVICE_LOST",
  "ABORTED",
  "DEADLINE",
  "DISPOSED",
  "ADDON_NOT_FOUND",
  "DOWNLOAD_FAILED",
  "INTERNAL",
] as const;

/** Why something failed, for programs; `message` says it to people. */
export type ErrorCode = (typeof errorCodes)[number];

export interface SplitwiserErrorOptions {
  /** What lies behind: an error of the system, or `signal.reason` of an abort. */
  cause?: unknown;
  /** What had been generated when the request ended. */
  partial?: Completion;
  /** Of a batch call: the outcome of every prompt, in order. */
  results?: (Completion | SplitwiserError)[];
}

/**
 * The only class of errors that this library throws. `message` says what was expected, what came and what to do.
 * `name` is "AbortError" when `code` is "ABORTED".
 */
export class SplitwiserError extends Error {
  /** Why it failed. */
  readonly code: ErrorCode;
  /** What had been generated when the request ended (`finishReason` "abort"); only where a request had begun. */
  readonly partial?: Completion;
  /** Of a batch call: the outcome of every prompt, in order. */
  readonly results?: (Completion | SplitwiserError)[];

  constructor(code: ErrorCode, message: string, options: SplitwiserErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = code === "ABORTED" ? "AbortError" : "SplitwiserError";
    this.code = code;
    if (options.partial) this.partial = options.partial;
    if (options.results) this.results = options.results;
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return errorCodes.some((known) => known === code);
}

/** Whatever was caught, as an error of this library. Native errors carry the same codes. */
export function toSplitwiserError(caught: unknown): SplitwiserError {
  if (caught instanceof SplitwiserError) return caught;
  if (caught instanceof Error) {
    const code = "code" in caught && isErrorCode(caught.code) ? caught.code : "INTERNAL";
    return new SplitwiserError(code, caught.message, { cause: caught });
  }
  return new SplitwiserError("INTERNAL", `an unexpected value was thrown: ${String(caught)}`, { cause: caught });
}

/** The message of whatever was caught. */
export function messageOf(caught: unknown): string {
  return caught instanceof Error ? caught.message : String(caught);
}

export function abortedError(reason: unknown, partial?: Completion): SplitwiserError {
  const why = reason instanceof Error && reason.name !== "AbortError" ? `: ${reason.message}` : "";
  return new SplitwiserError("ABORTED", `aborted by the caller${why}`, { cause: reason, ...(partial && { partial }) });
}

export function disposedError(what: string): SplitwiserError {
  return new SplitwiserError("DISPOSED", `${what} was disposed: load or make a new one`);
}

/** Throws `ABORTED` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal.reason);
}
