// How the lanes of a loaded model share the device: what was asked for, what was obtained, and changes of it.
import type { EngineClient } from "./client.js";
import { messageOf } from "./errors.js";
import { checkConfigureOptions, nativeEngineOptions, resolveSchedule, type EngineSettings } from "./load-options.js";
import type { Log } from "./log.js";
import type { NativeInfo } from "./native.js";
import type { ModelDevice, ScheduleInUse } from "./types.js";

export interface ConfigurationParts {
  client: EngineClient;
  settings: EngineSettings;
  maxSequences: number;
  threads: number;
  deviceWhy: string;
  log: Log;
}

export class Configuration {
  readonly #parts: ConfigurationParts;
  #settings: EngineSettings;
  /** Changes are made one after another: each one starts from what the one before has left. */
  #tail: Promise<unknown> = Promise.resolve();
  #last: NativeInfo | undefined;

  constructor(parts: ConfigurationParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
  }

  get schedule(): ScheduleInUse {
    return resolveSchedule(this.#settings, this.#parts.threads);
  }

  change(options: unknown): Promise<void> {
    // Bad options are refused at once, whatever still waits.
    checkConfigureOptions(options, this.#settings);
    const turn = this.#tail.then(async () => {
      const { client, maxSequences, threads, log } = this.#parts;
      const settings = checkConfigureOptions(options, this.#settings);
      await client.configure(nativeEngineOptions(settings, maxSequences, threads));
      this.#settings = settings;
      log("debug", () => `schedule ${this.schedule.used}: ${this.schedule.why}`);
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  device(): ModelDevice {
    const { client, deviceWhy } = this.#parts;
    const { device, isa, partition, lanes, memory } = this.#last ?? client.info();
    return { id: "cpu", name: device, isa, partition, lanes, memory, why: deviceWhy };
  }

  /** A disposed model still says what it ran on. */
  keepLast(): void {
    const { client, log } = this.#parts;
    if (client.disposed) return;
    try {
      this.#last = client.info();
    } catch (error) {
      log("warn", () => `the device said nothing before it was disposed: ${messageOf(error)}`);
    }
  }
}
