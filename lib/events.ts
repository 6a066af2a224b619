// Routes batches of native events to requests. Native code holds the hub for as long as the engine lives, so it
// must not reference the engine: a forgotten model is then collected.
import type { SplitwiserError } from "./errors.js";
import type { NativeEvent } from "./native.js";

export interface RequestListener {
  onEvent(event: NativeEvent): void;
  /** No event will come any more. */
  onLost(error: SplitwiserError): void;
}

export class EventHub {
  readonly #listeners = new Map<number, RequestListener>();

  /** Requests whose end has not come yet. */
  get size(): number {
    return this.#listeners.size;
  }

  /** To be called in the same turn as `submit`: events come later on the event loop, never before it returns. */
  add(request: number, listener: RequestListener): void {
    this.#listeners.set(request, listener);
  }

  readonly deliver = (events: readonly NativeEvent[]): void => {
    for (const event of events) {
      const listener = this.#listeners.get(event.request);
      if (!listener) continue;
      if (event.type === "end") this.#listeners.delete(event.request);
      listener.onEvent(event);
    }
  };

  failAll(error: () => SplitwiserError): void {
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of listeners) listener.onLost(error());
  }
}
