// The devices of this machine, and which of them a model is loaded on.
import { loadAddon } from "./addon.js";
import { messageOf, SplitwiserError } from "./errors.js";
import type { NativeAddon, NativeCudaDevice, NativeDevice } from "./native.js";
import type { DeviceInfo } from "./types.js";
import { invalidOption } from "./validate.js";

/** What `device` may ask for, checked. */
export type DeviceChoice = { kind: "auto" } | { kind: "cpu" } | { kind: "cuda"; ordinal: number };

/** Where a model is computed, and why there. */
export type ChosenDevice =
  | { kind: "cpu"; id: "cpu"; native: NativeDevice; why: string }
  | { kind: "cuda"; id: `cuda:${number}`; native: NativeCudaDevice; why: string };

/** The devices of this machine, also those that cannot be used, with the reason. Never throws. */
export function devices(): DeviceInfo[] {
  try {
    const addon = loadAddon();
    return [cpuInfo(addon), ...addon.cuda().map(cudaInfo)];
  } catch (error) {
    return [{ id: "cpu", available: false, reason: messageOf(error) }];
  }
}

function cpuInfo(addon: NativeAddon): DeviceInfo {
  try {
    const { name, cores, isa, memoryBytes } = addon.cpu();
    return { id: "cpu", available: true, name, cores, isa, memoryBytes };
  } catch (error) {
    return { id: "cpu", available: false, reason: messageOf(error) };
  }
}

function cudaInfo({ ordinal, reason, name, arch, sms, memoryBytes, driver }: NativeCudaDevice): DeviceInfo {
  const id = `cuda:${ordinal}` as const;
  return reason === "" ? { id, available: true, name, arch, sms, memoryBytes, driver } : { id, available: false, reason };
}

/** Throws `INVALID_OPTION`, and `DEVICE_UNAVAILABLE` for a kind of device that this version lacks. */
export function checkDevice(value: unknown): DeviceChoice {
  if (value === undefined || value === "auto") return { kind: "auto" };
  if (value === "cpu") return { kind: "cpu" };
  if (value === "cuda") return { kind: "cuda", ordinal: 0 };
  const ordinal = typeof value === "string" ? /^cuda:(\d{1,4})$/.exec(value)?.[1] : undefined;
  if (ordinal !== undefined) return { kind: "cuda", ordinal: Number(ordinal) };
  if (typeof value === "string" && /^virtual(:.+)?$/.test(value)) {
    throw new SplitwiserError(
      "DEVICE_UNAVAILABLE",
      `device: "${value}" is not available: this version has no virtual device yet: use "cpu", "cuda" or "auto"`,
    );
  }
  throw invalidOption("device", '"auto", "cpu", "cuda", "cuda:N" or "virtual"', value);
}

/** Throws `DEVICE_UNAVAILABLE` where the device that was named is not there: it is never replaced by another. */
export function chooseDevice(choice: DeviceChoice, addon: NativeAddon): ChosenDevice {
  if (choice.kind === "cpu") return onCpu(addon, '"cpu" was asked for');
  const found = addon.cuda();
  if (choice.kind === "cuda") {
    const id = `cuda:${choice.ordinal}` as const;
    const native = found.find(({ ordinal }) => ordinal === choice.ordinal);
    if (native?.reason === "") return { kind: "cuda", id, native, why: `"${id}" was asked for` };
    // Without a driver there is one entry, and its reason holds for every number.
    const reasonOfAll = found.length === 1 ? found[0]?.reason : undefined;
    const counted = `this machine has ${found.length} of them, counted from 0: the last is "cuda:${found.length - 1}"`;
    const reason = native?.reason ?? (reasonOfAll || counted);
    throw new SplitwiserError("DEVICE_UNAVAILABLE", `device: "${id}" is not available: ${reason}`);
  }
  const usable = found.find(({ reason }) => reason === "");
  if (usable !== undefined) {
    const id = `cuda:${usable.ordinal}` as const;
    return { kind: "cuda", id, native: usable, why: `"auto": ${id} is the first CUDA device that can be used` };
  }
  return onCpu(addon, `"auto": no CUDA device can be used (cuda:${found[0]?.ordinal ?? 0}: ${found[0]?.reason ?? "none was found"})`);
}

function onCpu(addon: NativeAddon, why: string): ChosenDevice {
  return { kind: "cpu", id: "cpu", native: addon.cpu(), why };
}
