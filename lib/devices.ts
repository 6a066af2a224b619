import { loadAddon } from "./addon.js";
import { messageOf } from "./errors.js";
import type { DeviceInfo } from "./types.js";

export const cudaReason =
  'this version of splitwiser has no CUDA side yet, it computes on the CPU: use device "cpu" or "auto"';

/** The devices of this machine, also those that cannot be used, with the reason. Never throws. */
export function devices(): DeviceInfo[] {
  return [cpu(), { id: "cuda:0", available: false, reason: cudaReason }];
}

function cpu(): DeviceInfo {
  try {
    const { name, cores, isa, memoryBytes } = loadAddon().cpu();
    return { id: "cpu", available: true, name, cores, isa, memoryBytes };
  } catch (error) {
    return { id: "cpu", available: false, reason: messageOf(error) };
  }
}
