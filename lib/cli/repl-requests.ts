// Ctrl-C in the REPL: every request that its model starts can be aborted from outside, also one that was started by `model.generate`.

import { setMaxListeners } from "node:events";
import type { Model, Sequence } from "../index.js";

export interface RunningRequests {
  /** Aborts all; how many there were. */
  abort(): number;
}

type Call = (input: unknown, options?: { signal?: AbortSignal }) => unknown;

/** Puts a signal of its own into the options of every call of the model that takes one. */
export function trackRequests(model: Model): RunningRequests {
  const controllers = new Set<AbortController>();

  const tracked = (call: Call, until: (result: unknown) => unknown): Call => (input, options) => {
    const controller = new AbortController();
    const signals = options?.signal === undefined ? [controller.signal] : [options.signal, controller.signal];
    const signal = AbortSignal.any(signals);
    // A batch listens once a prompt: more than the ten that Node takes for a leak.
    setMaxListeners(0, signal);
    const result = call(input, { ...options, signal });
    controllers.add(controller);
    const done = (): boolean => controllers.delete(controller);
    Promise.resolve(until(result)).then(done, done);
    return result;
  };
  const replace = (target: Model | Sequence, name: string, value: Call): void => {
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: false });
  };

  replace(model, "generate", tracked(model.generate.bind(model) as Call, (result) => result));
  replace(model, "stream", tracked(model.stream.bind(model) as Call, (result) => (result as { result: Promise<unknown> }).result));
  replace(model, "logits", tracked(model.logits.bind(model) as Call, (result) => result));
  const prefill = tracked(model.prefill.bind(model) as Call, (result) => result);
  replace(model, "prefill", async (prompt, options) => {
    const sequence = (await prefill(prompt, options)) as Sequence;
    const decode = sequence.decode.bind(sequence);
    const trackedDecode = tracked((_, chosen) => decode(chosen), (result) => (result as { result: Promise<unknown> }).result);
    Object.defineProperty(sequence, "decode", { value: (chosen?: object) => trackedDecode(null, chosen), enumerable: false });
    return sequence;
  });

  return {
    abort() {
      const count = controllers.size;
      for (const controller of controllers) controller.abort();
      return count;
    },
  };
}
