import { resolveSchedule } from "./load-options.js";
import { prepare } from "./prepare.js";
import type { LoadOptions, ModelReport } from "./types.js";

/**
 * The model, the device and the memory plan that `loadModel` would use with the same arguments; no weight is read.
 * Rejects as `loadModel` does.
 */
export async function inspectModel(source: string, options: LoadOptions = {}): Promise<ModelReport> {
  const { device, settings, folder, threads, plan, config } = await prepare(source, options);
  const { name, cores, isa, memoryBytes } = device;
  return {
    source: folder.folder,
    config,
    storedDtype: folder.storedDtype,
    files: folder.files.map((file) => ({ name: file.name, bytes: file.bytes })),
    tokenizer: folder.tokenizer !== undefined,
    device: { id: "cpu", name, cores, isa, memoryBytes, threads, why: settings.deviceWhy },
    schedule: resolveSchedule(settings, threads),
    memory: plan,
  };
}
