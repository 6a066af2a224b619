// Everything before the weights are touched: options, folder, memory plan. Shared by load and inspect.
import { basename } from "node:path";

import { loadAddon } from "./addon.js";
import { abortedError, throwIfAborted } from "./errors.js";
import { chooseDevice, type ChosenDevice } from "./devices.js";
import { checkLoadOptions, nativeEngineOptions, type EngineGround, type LoadSettings } from "./load-options.js";
import { makeLog, type Log } from "./log.js";
import { locateFolder, readModelFolder, type ModelFolder } from "./model/folder.js";
import { planMemory } from "./model/plan.js";
import type { NativeAddon, NativeDType, NativeEngineOptions } from "./native.js";
import type { MemoryPlan, ModelConfig } from "./types.js";

export interface Prepared {
  addon: NativeAddon;
  device: ChosenDevice;
  settings: LoadSettings;
  log: Log;
  folder: ModelFolder;
  storage: NativeDType;
  kvType: NativeDType;
  ground: EngineGround;
  engine: NativeEngineOptions;
  plan: MemoryPlan;
  config: ModelConfig;
}

export async function prepare(source: unknown, options: unknown): Promise<Prepared> {
  const settings = checkLoadOptions(options);
  const { signal, onProgress } = settings;
  throwIfAborted(signal);
  const log = makeLog(settings.onLog);
  const path = await locateFolder(source);
  const addon = loadAddon();
  const device = chooseDevice(settings.device, addon);
  const threads = settings.threads ?? (device.kind === "cpu" ? Math.max(1, device.native.cores) : 1);
  const ground = { device: device.kind, threads, maxSequences: settings.maxSequences };
  const engine = nativeEngineOptions(settings, ground);
  const folder = await readModelFolder(path, {
    signal,
    onFile(done, total) {
      try {
        onProgress?.({ phase: "read", done, total });
      } catch (error) {
        throw abortedError(error);
      }
    },
  });
  const { model } = folder;
  const storage = settings.dtype === "auto" ? folder.storedDtype : settings.dtype;
  // A 16-bit model keeps 16-bit keys and values of its own kind.
  const kvType = settings.kvCacheType === "auto" ? storage : settings.kvCacheType;
  const plan = planMemory({
    device: device.kind,
    model,
    tensors: folder.family.tensors(model),
    storage,
    kvType,
    pageSize: settings.pageSize,
    maxSequences: settings.maxSequences,
    maxBatchTokens: settings.maxBatchTokens,
    maxModelLen: settings.maxModelLen,
    kvCacheBytes: settings.kvCacheBytes,
    availableBytes: device.native.availableBytes,
  });
  if (settings.maxModelLen === undefined && plan.maxModelLen < model.maxPositions) {
    log("warn", () => `maxModelLen is lowered from ${model.maxPositions} to ${plan.maxModelLen}: the KV cache holds no more`);
  }
  log("info", () => `${basename(path)}: ${plan.pages} pages of ${plan.pageSize} tokens, ${plan.totalBytes} bytes in all`);
  return { addon, device, settings, log, folder, storage, kvType, ground, engine, plan, config: configOf(folder, plan, storage, kvType) };
}

function configOf(folder: ModelFolder, plan: MemoryPlan, dtype: NativeDType, kvCacheType: NativeDType): ModelConfig {
  const { family, layers, heads, kvHeads, headDim, hidden, ffn, vocab, maxPositions } = folder.model;
  const { maxModelLen, pageSize, pages } = plan;
  const { parameters, endTokenIds } = folder;
  return {
    family, layers, heads, kvHeads, headDim, hidden, ffn, vocab, maxModelLen, maxPositions,
    dtype, kvCacheType, pageSize, pages, parameters, endTokenIds,
  };
}
