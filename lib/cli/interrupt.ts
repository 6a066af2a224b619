// Ctrl-C: the first one aborts what runs, so that it can be disposed of properly; a second one ends the process at once.

import { setMaxListeners } from "node:events";
import { exitCodes } from "./failure.js";

export interface Interrupt {
  /** Fires on the first SIGINT. */
  readonly signal: AbortSignal;
  release(): void;
}

export function watchInterrupt(): Interrupt {
  const controller = new AbortController();
  // A batch listens once a request: more than the ten that Node takes for a leak.
  setMaxListeners(0, controller.signal);
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted);
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  return { signal: controller.signal, release: () => process.off("SIGINT", onSignal) };
}
