// `--device cuda`: the rows of model.ts on a GPU, beside what its memory and its tensor cores can do. Never a CPU's number under that name.
import { devices, type DeviceInfo } from "../../dist/index.js";
import { deviceClasses, type DeviceClass } from "./device-classes.js";

export interface GpuFound {
  id: `cuda:${number}`;
  name: string;
  arch: string;
  sms: number;
  driver: string;
  /** What is published of it; null: bench/cuda/device-classes.ts does not have this GPU. */
  published: DeviceClass | null;
}

type Usable = Extract<DeviceInfo, { sms: number }>;

/** By name and by what was read of it: an H100 PCIe has fewer SMs and another memory. An A100 of 40 GB has slower memory. */
export function publishedClass({ name, arch, sms, memoryBytes }: Pick<Usable, "name" | "arch" | "sms" | "memoryBytes">): DeviceClass | null {
  const same = deviceClasses.find((one) => name.includes(one.name) && arch === `sm_${one.arch}` && sms === one.sms);
  return same === undefined || (same.name === "A100" && memoryBytes < 60e9) ? null : same;
}

/** Throws with the reason where no GPU can be timed. */
export function findGpu(wanted: string): GpuFound {
  if (!/^cuda(:\d+)?$/.test(wanted)) throw new Error(`--device: expected "cpu", "cuda" or "cuda:N", got "${wanted}"`);
  const id = wanted === "cuda" ? "cuda:0" : wanted;
  const all = devices();
  const found = all.find((device) => device.id === id);
  if (found === undefined || !found.available || !("sms" in found)) {
    const cuda = all.find((device) => device.id.startsWith("cuda"));
    const reason = found !== undefined && !found.available ? found.reason : cuda !== undefined && !cuda.available ? cuda.reason : `this machine has no ${id}`;
    throw new Error(`${id} cannot be used, and nothing was measured: ${reason}`);
  }
  const named = process.env["SPLITWISER_CUDA_LIBRARY"] ?? "";
  if (/simulated|simdriver/i.test(`${found.name} ${named}`)) {
    throw new Error(
      `${id} is the simulated device (SPLITWISER_CUDA_LIBRARY=${named}): how long it takes says nothing of a GPU, and nothing was measured. ` +
        "Modelled times: npm run bench -- --modelled",
    );
  }
  const { name, arch, sms, driver } = found;
  return { id: found.id, name, arch, sms, driver, published: publishedClass(found) };
}
