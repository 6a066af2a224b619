// Types that users rely on: compiled, never run. A line under @ts-expect-error must not compile.
import { devices, loadModel, SplitwiserError } from "splitwiser";
import type { Completion, CompletionStream, DeviceInfo, GenerateOptions, LoadOptions, RequestTiming } from "splitwiser";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only where the two types are the same. */
const same = <A, B>(proof: Same<A, B>): boolean => proof;

type Model = Awaited<ReturnType<typeof loadModel>>;

export async function resultsFollowThePrompt(model: Model): Promise<void> {
  const one = await model.generate("text", { maxTokens: 4 });
  same<typeof one, Completion>(true);
  const byIds = await model.generate([1, 2, 3]);
  same<typeof byIds, Completion>(true);
  const packed: Completion = await model.generate(new Uint32Array([1, 2]));
  const several: Completion[] = await model.generate(["a", "b"]);
  const severalByIds: Completion[] = await model.generate([[1], [2, 3]]);
  // @ts-expect-error several prompts give several results
  const wrong: Completion = await model.generate(["a", "b"]);
  void [one, byIds, packed, several, severalByIds, wrong];
}

export async function timingSaysWhatMayBeMissing(completion: Completion): Promise<void> {
  same<RequestTiming["ttftMs"], number | null>(true);
  same<RequestTiming["queueMs"], number>(true);
  same<RequestTiming["itlMs"], number[]>(true);
  same<Completion["finishReason"], "stop" | "length" | "abort">(true);
  // @ts-expect-error there may have been no first token
  const first: number = completion.timing.ttftMs;
  void first;
}

export async function aStreamIsReadOnceAndHasAResult(model: Model): Promise<Completion> {
  const stream: CompletionStream = model.stream("text");
  for await (const delta of stream) {
    const text: string = delta.text;
    const ids: number[] = delta.tokenIds;
    void [text, ids];
  }
  return stream.result;
}

export async function aSequenceIsDisposedByItsScope(model: Model): Promise<number> {
  await using sequence = await model.prefill("text");
  const other = sequence.fork();
  await other.dispose();
  for await (const delta of sequence.decode({ maxTokens: 1 })) void delta.text;
  return sequence.length;
}

export async function aModelIsDisposedByItsScope(): Promise<void> {
  await using model = await loadModel("radiology", { device: "cpu", schedule: "split" });
  await model.configure({ schedule: "chunked" });
}

export function optionsAreUnionsOfWords(): [LoadOptions, GenerateOptions] {
  // @ts-expect-error not a schedule
  const load: LoadOptions = { schedule: "both" };
  // @ts-expect-error not an option: a misspelled one must not pass in silence
  const generate: GenerateOptions = { maxToken: 4 };
  // @ts-expect-error not a device
  const device: LoadOptions = { device: "gpu" };
  void device;
  return [load, generate];
}

export function anUnavailableDeviceHasAReasonAndNoName(info: DeviceInfo): string {
  // @ts-expect-error known only when available
  void info.name;
  return info.available ? info.name : info.reason;
}

export function codesOfErrorsAreAClosedUnion(error: unknown): boolean {
  if (!(error instanceof SplitwiserError)) return devices().length > 0;
  // @ts-expect-error not a code
  if (error.code === "OOPS") return false;
  return error.code === "OUT_OF_MEMORY";
}
