// The face of a loaded model. What its methods do lies in generate.ts, sequence.ts, configuration.ts and timeline.ts.
import type { Configuration } from "./configuration.js";
import type { ModelContext } from "./context.js";
import { generateBatch, generateOne, streamOne } from "./generate.js";
import { checkPrefillOptions, plainRequest } from "./options.js";
import { isBatch, roomAfter, toTokens } from "./prompt.js";
import { Run } from "./run.js";
import { Sequence } from "./sequence.js";
import { checkTimelineOptions, writeTimeline } from "./timeline.js";
import type {
  Completion,
  CompletionStream,
  ConfigureOptions,
  GenerateOptions,
  Logits,
  ModelConfig,
  ModelDevice,
  ModelStats,
  PrefillOptions,
  Prompt,
  TimelineEvent,
  TimelineOptions,
  TokenIds,
  Tokenizer,
} from "./types.js";
import { invalidOption } from "./validate.js";

/** What `loadModel` hands over. */
export interface ModelParts {
  context: ModelContext;
  configuration: Configuration;
  config: ModelConfig;
  tokenizer: Tokenizer;
}

/** A model in memory, with its engine. Made by `loadModel`. */
export class Model {
  /** Sizes of the model and what it was loaded with. */
  readonly config: ModelConfig;
  /** Text to token ids and back. Its methods reject with `INVALID_OPTION` when the model's folder has no tokenizer.json. */
  readonly tokenizer: Tokenizer;
  readonly #context: ModelContext;
  readonly #configuration: Configuration;

  /** @internal */
  constructor({ context, configuration, config, tokenizer }: ModelParts) {
    this.#context = context;
    this.#configuration = configuration;
    this.config = config;
    this.tokenizer = tokenizer;
  }

  /** The device and how its lanes share it, as obtained. */
  get device(): ModelDevice {
    return this.#configuration.device();
  }

  /**
   * Generates from a prompt, or from each of several, decoded together (order kept; [] gives []).
   *
   * Rejects with `INVALID_OPTION`, `PROMPT_TOO_LONG`, `OUT_OF_MEMORY` (it could never fit), `ABORTED`, `DEADLINE`, `DISPOSED`, `DEVICE_LOST`.
   * `error.partial` holds what there is; of a call with several prompts, `error.results` holds every prompt's own outcome.
   */
  generate(prompts: readonly string[] | readonly TokenIds[], options?: GenerateOptions): Promise<Completion[]>;
  generate(prompt: Prompt, options?: GenerateOptions): Promise<Completion>;
  async generate(
    prompt: Prompt | readonly string[] | readonly TokenIds[],
    options: GenerateOptions = {},
  ): Promise<Completion | Completion[]> {
    return isBatch(prompt) ? generateBatch(this.#context, prompt, options) : generateOne(this.#context, prompt, options);
  }

  /**
   * Generates from a prompt, as a stream of deltas. Throws `INVALID_OPTION` at once; the loop throws what `generate` rejects with.
   */
  stream(prompt: Prompt, options: GenerateOptions = {}): CompletionStream {
    return streamOne(this.#context, prompt, options);
  }

  /**
   * Computes a prompt and holds it: the first phase by hand. Rejects with `INVALID_OPTION`, `PROMPT_TOO_LONG`, `OUT_OF_MEMORY`,
   * `ABORTED`, `DISPOSED`, `DEVICE_LOST`.
   */
  async prefill(prompt: Prompt, options: PrefillOptions = {}): Promise<Sequence> {
    return Sequence.prefill(this.#context, prompt, options);
  }

  /** Logits after every token: row i belongs to the token that follows tokenIds[i]. Rejects as `prefill` does. */
  async logits(tokenIds: TokenIds, options: PrefillOptions = {}): Promise<Logits> {
    const { client, prompts, limits } = this.#context;
    const settings = checkPrefillOptions(options);
    const ids: unknown = tokenIds;
    if (typeof ids === "string") throw invalidOption("tokenIds", "an array of token ids", ids, "use model.tokenizer.encode first");
    const read = prompts.reader(ids, false);
    let length = 0;
    const run = new Run({
      client,
      settings,
      prepare: async () => {
        const tokens = toTokens(await read(), limits.vocab);
        length = tokens.length;
        roomAfter(length, limits.maxModelLen, 0);
        return { ...plainRequest(tokens, settings), logits: true };
      },
    });
    const { logits } = await run.outcome;
    return { data: logits ?? new Float32Array(0), shape: [length, limits.vocab] };
  }

  /**
   * Changes how the phases share the device, from the next step on: running requests go on and give the same tokens. What is left out
   * stays. Rejects with `INVALID_OPTION`, `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY`, `DISPOSED`.
   */
  async configure(options: ConfigureOptions): Promise<void> {
    return this.#configuration.change(options);
  }

  /** Counts of this moment. Throws `DISPOSED`. */
  stats(): ModelStats {
    return { ...this.#context.client.stats(), schedule: this.#configuration.schedule };
  }

  /** The last steps of both lanes, oldest first. Throws `INVALID_OPTION`, `DISPOSED`. */
  timeline(options: TimelineOptions = {}): TimelineEvent[] {
    return this.#context.client.timeline(checkTimelineOptions(options));
  }

  /** Writes the timeline in Chrome's trace format, which ui.perfetto.dev opens. Rejects with `INVALID_OPTION`, `DISPOSED`. */
  async saveTimeline(path: string, options: TimelineOptions = {}): Promise<void> {
    await writeTimeline(path, this.timeline(options), `splitwiser ${this.config.family}`);
  }

  /** Ends waiting and running requests with `DISPOSED` and frees everything. May be called again. */
  async dispose(): Promise<void> {
    this.#configuration.keepLast();
    await this.#context.client.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
