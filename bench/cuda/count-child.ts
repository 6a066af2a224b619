// Runs in a process of its own on the simulated driver: prefills of one size, then one decode step for each batch and context. What the
// device did is in the driver's report; this program prints nothing.
import { loadModel } from "../../dist/index.js";
import { randomTokens } from "../../dist/workload/model-bench.js";
import { createRandom } from "../../dist/workload/random.js";

export interface CountPlan {
  model: string;
  /** Tokens of the prompt whose prefill is counted: the last one of so many, since layer groups become graphs when they come again. */
  prefill: number;
  prefills: number;
  decode: { batch: number; context: number }[];
}

async function main(): Promise<void> {
  const plan = JSON.parse(process.argv[2] ?? "") as CountPlan;
  const most = Math.max(1, ...plan.decode.map(({ batch }) => batch));
  const model = await loadModel(plan.model, {
    device: "cuda",
    dtype: "f16",
    schedule: "sequential",
    maxBatchTokens: Math.max(512, plan.prefill),
    maxSequences: most,
    maxModelLen: 2048,
    kvCacheBytes: 256 << 20,
  });
  try {
    const random = createRandom(7);
    const tokens = (count: number): number[] => randomTokens(count, model.config.vocab, random);
    for (let i = 0; i < plan.prefills; i++) await model.generate(tokens(plan.prefill), { maxTokens: 1, ignoreEos: true });
    for (const { batch, context } of plan.decode) {
      // The prompt's last token gives the first output of every choice; the step of the second one is counted, with `context` tokens in
      // the cache. Choices share the pages of one prompt: it is computed once, and not for each sequence.
      await model.generate(tokens(context - 1), { n: batch, maxTokens: 2, ignoreEos: true });
    }
  } finally {
    await model.dispose();
  }
}

await main();
