// Progress on stderr, only where somebody looks at it.

import { Presets, SingleBar } from "cli-progress";
import { isTerminal } from "./terminal.js";

export interface ProgressBar {
  /** `what` is a word on what is being done. */
  update(done: number, total: number, what: string): void;
  stop(): void;
}

/** A bar that is drawn on the first update and cleared at the end; nothing is written unless stderr is a terminal. */
export function createProgress(): ProgressBar {
  if (!isTerminal(process.stderr)) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar(
    { format: "{bar} {percentage}%  {value}/{total}  {what}", stream: process.stderr, clearOnComplete: true, hideCursor: true, gracefulExit: false },
    Presets.shades_classic,
  );
  let started = false;
  return {
    update(done, total, what) {
      if (!started) bar.start(total, done, { what });
      started = true;
      bar.setTotal(total);
      bar.update(done, { what });
    },
    stop() {
      if (started) bar.stop();
      started = false;
    },
  };
}
