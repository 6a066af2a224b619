// A request's output as it comes: deltas wait here for the reader, and merge while they wait.
import { SplitwiserError, toSplitwiserError } from "./errors.js";
import type { Run } from "./run.js";
import type { Completion, CompletionStream, Delta } from "./types.js";

/** One pending delta for each output at most, in the order of arrival. */
class DeltaQueue {
  readonly #pending = new Map<number, Delta>();
  #ended = false;
  #error: SplitwiserError | undefined;
  #wake: (() => void) | undefined;

  push(delta: Delta): void {
    const waiting = this.#pending.get(delta.index);
    if (!waiting) {
      this.#pending.set(delta.index, delta);
    } else {
      waiting.text += delta.text;
      for (const id of delta.tokenIds) waiting.tokenIds.push(id);
      for (const logprob of delta.logprobs ?? []) (waiting.logprobs ??= []).push(logprob);
    }
    this.#wake?.();
  }

  end(error?: SplitwiserError): void {
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** undefined: the end. Throws what ended the request, once the deltas before it are read. */
  async take(): Promise<Delta | undefined> {
    for (;;) {
      for (const [index, delta] of this.#pending) {
        this.#pending.delete(index);
        return delta;
      }
      if (this.#error) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** `start` begins the request and hands its deltas to what it is given. */
export function streamOf(start: (onDelta: (delta: Delta) => void) => Run): CompletionStream {
  const queue = new DeltaQueue();
  const run = start((delta) => queue.push(delta));
  const result: Promise<Completion> = run.completion();
  result.then(
    () => queue.end(),
    (error: unknown) => queue.end(toSplitwiserError(error)),
  );
  const abort = (): void => run.abort(new DOMException("The stream was aborted", "AbortError"));
  let read = false;
  return {
    result,
    abort,
    [Symbol.asyncIterator]() {
      if (read) {
        throw new SplitwiserError("INVALID_OPTION", "stream: it is read already, a stream can be read once: use its result");
      }
      read = true;
      return new DeltaIterator(queue, run, abort);
    },
  };
}

class DeltaIterator implements AsyncIterableIterator<Delta, undefined> {
  readonly #queue: DeltaQueue;
  readonly #run: Run;
  readonly #abort: () => void;
  #done = false;

  constructor(queue: DeltaQueue, run: Run, abort: () => void) {
    this.#queue = queue;
    this.#run = run;
    this.#abort = abort;
  }

  async next(): Promise<IteratorResult<Delta, undefined>> {
    if (this.#done) return { done: true, value: undefined };
    try {
      const value = await this.#queue.take();
      if (value) return { done: false, value };
    } catch (error) {
      this.#done = true;
      throw error;
    }
    this.#done = true;
    return { done: true, value: undefined };
  }

  /** The loop is left early: the request ends, and its pages are free when the loop's statement is over. */
  async return(): Promise<IteratorResult<Delta, undefined>> {
    this.#done = true;
    if (!this.#run.settled) {
      this.#abort();
      await this.#run.outcome.catch(() => {});
    }
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
