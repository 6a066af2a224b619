// How the lanes of a loaded model share the device: what was asked for, what was obtained, and changes of it.
import type { EngineClient } from "./client.js";
import { messageOf } from "./errors.js";
import type { ChosenDevice } from "./devices.js";
import {
  checkConfigureOptions,
  nativeEngineOptions,
  resolveSchedule,
  type EngineGround,
  type EngineSettings,
} from "./load-options.js";
import type { Log } from "./log.js";
import type { NativeInfo, NativeLane } from "./native.js";
import type { LaneInfo, ModelDevice, ScheduleInUse } from "./types.js";

export interface ConfigurationParts {
  client: EngineClient;
  settings: EngineSettings;
  ground: EngineGround;
  device: ChosenDevice;
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
    return resolveSchedule(this.#settings, this.#parts.ground);
  }

  change(options: unknown): Promise<void> {
    // Bad options are refused at once, whatever still waits.
    nativeEngineOptions(checkConfigureOptions(options, this.#settings), this.#parts.ground);
    const turn = this.#tail.then(async () => {
      const { client, ground, log } = this.#parts;
      const settings = checkConfigureOptions(options, this.#settings);
      await client.configure(nativeEngineOptions(settings, ground));
      this.#settings = settings;
      log("debug", () => `schedule ${this.schedule.used}: ${this.schedule.why}`);
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  device(): ModelDevice {
    const { client, device: chosen } = this.#parts;
    const { device, isa, partition, partitionNotes, lanes, memory } = this.#last ?? client.info();
    const { prefill, decode } = lanes;
    return {
      id: chosen.id,
      name: device,
      isa: chosen.kind === "cpu" ? isa : chosen.native.arch,
      partition,
      partitionNotes,
      lanes: { prefill: laneInfo(prefill, chosen.kind), decode: laneInfo(decode, chosen.kind) },
      memory,
      why: chosen.why,
    };
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

function laneInfo({ cores, sms, share }: NativeLane, device: ChosenDevice["kind"]): LaneInfo {
  return device === "cpu" ? { cores, share } : { sms, share };
}
