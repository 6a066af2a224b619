// Text generation: one prompt, many, or as a stream.
import type { ModelContext } from "./context.js";
import { SplitwiserError, throwIfAborted } from "./errors.js";
import type { NativeRequest } from "./native.js";
import { checkGenerateOptions, drawSeed, nativeGenerate, plainRequest, type GenerateSettings } from "./options.js";
import { roomAfter, toTokens } from "./prompt.js";
import { Run } from "./run.js";
import { streamOf } from "./stream.js";
import type { Completion, CompletionStream, Delta, TokenIds } from "./types.js";

export async function generateOne(model: ModelContext, prompt: unknown, options: unknown): Promise<Completion> {
  const settings = checkGenerateOptions(options, model.limits);
  return startRun(model, settings, model.prompts.reader(prompt, true)).completion();
}

export function streamOne(model: ModelContext, prompt: unknown, options: unknown): CompletionStream {
  const settings = checkGenerateOptions(options, model.limits);
  const read = model.prompts.reader(prompt, true);
  return streamOf((onDelta) => startRun(model, settings, read, onDelta));
}

/** Every prompt has its own outcome; when one fails, the call rejects once all have ended. */
export async function generateBatch(model: ModelContext, prompts: readonly unknown[], options: unknown): Promise<Completion[]> {
  const settings = checkGenerateOptions(options, model.limits);
  const readAll = model.prompts.batchReader(prompts);
  throwIfAborted(settings.signal);
  if (prompts.length === 0) return [];
  // One tokenizer call for all; it starts now, and each request waits for it.
  const texts = readAll();
  texts.catch(() => {});
  const runs = prompts.map((_, i) => startRun(model, settings, async () => (await texts)[i] ?? []));
  const outcomes = await Promise.all(runs.map((run) => run.completion().catch((error: unknown) => error as SplitwiserError)));
  const completions = outcomes.filter((outcome): outcome is Completion => !(outcome instanceof SplitwiserError));
  if (completions.length === outcomes.length) return completions;
  throw batchError(outcomes);
}

function batchError(results: (Completion | SplitwiserError)[]): SplitwiserError {
  const index = results.findIndex((result) => result instanceof SplitwiserError);
  const first = results[index];
  if (!(first instanceof SplitwiserError)) return new SplitwiserError("INTERNAL", "no prompt of the batch failed", { results });
  const failed = results.filter((result) => result instanceof SplitwiserError).length;
  const { code, message, partial } = first;
  return new SplitwiserError(code, `prompt ${index} of ${results.length} (${failed} failed): ${message}`, {
    ...("cause" in first && { cause: first.cause }),
    ...(partial && { partial }),
    results,
  });
}

function startRun(
  model: ModelContext,
  settings: GenerateSettings,
  read: () => Promise<TokenIds>,
  onDelta?: (delta: Delta) => void,
): Run {
  const seed = settings.seed ?? drawSeed();
  return new Run({
    client: model.client,
    settings,
    n: settings.generate.n,
    seed,
    prepare: async (): Promise<NativeRequest> => {
      const tokens = toTokens(await read(), model.limits.vocab);
      const room = roomAfter(tokens.length, model.limits.maxModelLen, 1);
      return {
        ...plainRequest(tokens, settings),
        generate: nativeGenerate(settings, seed, room),
        promptLogprobs: settings.promptLogprobs,
      };
    },
    ...(onDelta && { onDelta }),
  });
}
