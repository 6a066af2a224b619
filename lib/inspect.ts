import { resolveSchedule } from "./load-options.js";
import { prepare } from "./prepare.js";
import type { LoadOptions, ModelReport } from "./types.js";

/**
 * The model, the device and the memory plan that `loadModel` would use with the same arguments; no weight is read.
 * Rejects as `loadModel` does.
 */
export async function inspectModel(source: string, options: LoadOptions = {}): Promise<ModelReport> {
  const { device, settings, folder, ground, plan, config } = await prepare(source, options);
  const { id, why } = device;
  const { name, memoryBytes } = device.native;
  return {
    source: folder.folder,
    config,
    storedDtype: folder.storedDtype,
    files: folder.files.map((file) => ({ name: file.name, bytes: file.bytes })),
    tokenizer: folder.tokenizer !== undefined,
    device:
      device.kind === "cpu"
        ? { id, name, memoryBytes, why, isa: device.native.isa, cores: device.native.cores, threads: ground.threads }
        : { id, name, memoryBytes, why, isa: device.native.arch, sms: device.native.sms },
    schedule: resolveSchedule(settings, ground),
    memory: plan,
  };
}
