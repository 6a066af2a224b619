// The native engine with errors of this library, and its end. Whoever holds a client keeps the engine alive; the hub does not.
import { disposedError, toSplitwiserError } from "./errors.js";
import type { EventHub, RequestListener } from "./events.js";
import type { NativeEngine, NativeEngineOptions, NativeInfo, NativeRequest, NativeStats } from "./native.js";
import type { TimelineEvent } from "./types.js";

export class EngineClient {
  readonly #engine: NativeEngine;
  readonly #hub: EventHub;
  #disposing: Promise<void> | undefined;

  constructor(engine: NativeEngine, hub: EventHub) {
    this.#engine = engine;
    this.#hub = hub;
  }

  get disposed(): boolean {
    return this.#disposing !== undefined;
  }

  /** Throws `DISPOSED`, and what can never run. Returns the request's id. */
  submit(request: NativeRequest, listener: RequestListener): number {
    const id = this.#call((engine) => engine.submit(request));
    this.#hub.add(id, listener);
    return id;
  }

  abort(request: number): void {
    if (!this.disposed) this.#call((engine) => engine.abort(request));
  }

  fork(sequence: number): number {
    return this.#call((engine) => engine.fork(sequence));
  }

  truncate(sequence: number, length: number): void {
    this.#call((engine) => engine.truncate(sequence, length));
  }

  /** Never throws: a sequence that is gone is what was wanted. */
  release(sequence: number): void {
    if (this.disposed) return;
    try {
      this.#engine.release(sequence);
    } catch {
      // It ended with its request.
    }
  }

  async configure(options: NativeEngineOptions): Promise<void> {
    try {
      await this.#call((engine) => engine.configure(options));
    } catch (error) {
      throw toSplitwiserError(error);
    }
  }

  info(): NativeInfo {
    return this.#call((engine) => engine.info());
  }

  stats(): NativeStats {
    return this.#call((engine) => engine.stats());
  }

  timeline(limit: number): TimelineEvent[] {
    return this.#call((engine) => engine.timeline(limit));
  }

  /** May be called again: every call waits for the one end. */
  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    try {
      await this.#engine.dispose();
    } catch (error) {
      throw toSplitwiserError(error);
    } finally {
      // The last events may still be on their way; what has none by then gets its end here.
      await new Promise((resolve) => setImmediate(resolve));
      this.#hub.failAll(() => disposedError("the model"));
    }
  }

  #call<T>(use: (engine: NativeEngine) => T): T {
    if (this.disposed) throw disposedError("the model");
    try {
      return use(this.#engine);
    } catch (error) {
      throw toSplitwiserError(error);
    }
  }
}
