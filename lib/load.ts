import { join } from "node:path";

import { EngineClient } from "./client.js";
import { Configuration } from "./configuration.js";
import { abortedError, toSplitwiserError } from "./errors.js";
import { EventHub } from "./events.js";
import { Model } from "./model.js";
import type { NativeEngine, NativeLoad } from "./native.js";
import { prepare, type Prepared } from "./prepare.js";
import { PromptReader } from "./prompt.js";
import { loadTokenizer, missingTokenizer } from "./tokenizer/tokenizer.js";
import type { LoadOptions } from "./types.js";

/**
 * Loads a model from a Hugging Face folder (config.json, model.safetensors or its shards, tokenizer.json), or the bundled one: "radiology".
 *
 * Rejects with `INVALID_OPTION`, `MODEL_NOT_FOUND`, `UNSUPPORTED_MODEL`, `CORRUPT_FILE`, `OUT_OF_MEMORY`, `DEVICE_UNAVAILABLE`, `ABORTED`,
 * `ADDON_NOT_FOUND`.
 */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<Model> {
  const prepared = await prepare(source, options);
  const { device, settings, folder, ground, plan, config, log } = prepared;
  const tokenizer =
    folder.tokenizer === undefined
      ? missingTokenizer(folder.folder)
      : await loadTokenizer(folder.tokenizer, join(folder.folder, "tokenizer.json"));
  const load: NativeLoad = {
    cuda:
      device.kind === "cuda"
        ? { ordinal: device.native.ordinal, layerGroupMs: Math.min(1, settings.maxTokenGapMs / 4) }
        : null,
    model: folder.model,
    files: folder.files.map((file) => file.path),
    tensors: folder.tensors,
    storage: prepared.storage,
    kvType: prepared.kvType,
    pageSize: plan.pageSize,
    kvPages: plan.pages,
    maxModelLen: plan.maxModelLen,
    threads: ground.threads,
    vocabulary: tokenizer.vocabulary(folder.model.vocab),
    engine: prepared.engine,
  };
  const hub = new EventHub();
  const client = new EngineClient(await startEngine(prepared, load, hub), hub);
  log("debug", () => `loaded ${folder.folder} on ${device.id}`);
  return new Model({
    context: {
      client,
      prompts: new PromptReader(tokenizer),
      limits: {
        vocab: config.vocab,
        endTokenIds: config.endTokenIds,
        maxSequences: settings.maxSequences,
        text: folder.tokenizer !== undefined,
        maxModelLen: plan.maxModelLen,
      },
    },
    configuration: new Configuration({ client, settings, ground, device, log }),
    config,
    tokenizer,
  });
}

/** The native load, which an abort or an error of onProgress cancels. */
async function startEngine({ addon, settings }: Prepared, load: NativeLoad, hub: EventHub): Promise<NativeEngine> {
  const { signal, onProgress } = settings;
  let stopped: { reason: unknown } | undefined;
  const stop = (reason: unknown): void => {
    stopped ??= { reason };
    started?.cancel();
  };
  const onSignal = (): void => stop(signal?.reason);
  if (signal?.aborted) throw abortedError(signal.reason);
  let started: ReturnType<typeof addon.load> | undefined;
  try {
    started = addon.load(
      load,
      (done, total) => {
        try {
          onProgress?.({ phase: "convert", done, total });
        } catch (error) {
          stop(error);
        }
      },
      hub.deliver,
    );
    signal?.addEventListener("abort", onSignal, { once: true });
    const engine = await started.engine;
    if (stopped) await engine.dispose();
    else return engine;
  } catch (error) {
    if (!stopped) throw toSplitwiserError(error);
  } finally {
    signal?.removeEventListener("abort", onSignal);
    // Native code may hold the callback above: through it, it would hold the engine.
    started = undefined;
  }
  throw abortedError(stopped?.reason);
}
