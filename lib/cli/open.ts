// Loads the model of a command, with progress, and sees to it that it is disposed of.

import { loadModel, type Model } from "../index.js";
import type { LoadOptions } from "../types.js";
import { loadOptions, type ModelArguments } from "./arguments.js";
import { createProgress } from "./progress.js";

export interface WithModel {
  given: ModelArguments;
  /** Beside those that `given` holds. */
  options?: LoadOptions;
  signal: AbortSignal;
}

export async function withModel<T>({ given, options, signal }: WithModel, use: (model: Model) => Promise<T>): Promise<T> {
  const progress = createProgress();
  let model: Model;
  try {
    model = await loadModel(given.model, {
      ...loadOptions(given),
      ...options,
      signal,
      onProgress: ({ phase, done, total }) => progress.update(done, total, phase === "read" ? "reading files" : "loading weights"),
    });
  } finally {
    progress.stop();
  }
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}
