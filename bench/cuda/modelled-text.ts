// The modelled times as tables. "modelled" stands in every row.
import { colorsOf, numberText, printLine, tableText, type Column } from "../../dist/cli/terminal.js";
import { shape } from "../opt125m.js";
import { deviceClasses } from "./device-classes.js";
import { assumptions } from "./kernel-time.js";
import { aim, boundWords, type ModelledKernel, type ModelledReport, type ModelledStep } from "./modelled.js";

const micro = (seconds: number): string => numberText(1e6 * seconds);
const reference = deviceClasses.find(({ name }) => name === aim.device)?.name ?? "";

const stepName = ({ phase, rows, context }: ModelledStep): string =>
  phase === "prefill" ? `prefill of ${rows} tokens` : `decode, batch ${rows}, context ${context}`;

/** The same step on every device class, in their order. */
function bySteps(steps: readonly ModelledStep[]): ModelledStep[][] {
  const names = [...new Set(steps.map(stepName))];
  return names.map((name) => steps.filter((step) => stepName(step) === name));
}

interface KernelLine {
  label: string;
  times: number;
  kernels: ModelledKernel[];
}

/** Launches of one role and name together; their times are added up. */
function kernelLines(step: ModelledStep): KernelLine[] {
  const lines = new Map<string, KernelLine>();
  for (const kernel of step.kernels) {
    const label = kernel.role === "other" ? kernel.kernel : `${kernel.role}: ${kernel.kernel}`;
    const line = lines.get(label) ?? { label, times: 0, kernels: [] };
    line.times += kernel.times;
    line.kernels.push(kernel);
    lines.set(label, line);
  }
  return [...lines.values()];
}

const total = (kernels: readonly ModelledKernel[], value: (kernel: ModelledKernel) => number): number =>
  kernels.reduce((sum, kernel) => sum + kernel.times * value(kernel), 0);

/** Kernel names may differ between devices (tiles are chosen by their SMs): lines are matched by role, in order. */
function secondsOf(step: ModelledStep | undefined, line: KernelLine): number | null {
  if (step === undefined) return null;
  const role = line.kernels[0]?.role;
  const name = line.kernels[0]?.kernel;
  const same = step.kernels.filter((kernel) => kernel.role === role && (role !== "other" || kernel.kernel === name));
  const most = kernelLines(step).filter(({ kernels }) => kernels[0]?.role === role).length;
  const chosen = most > 1 ? same.filter(({ kernel }) => kernel === name) : same;
  return chosen.length === 0 ? null : total(chosen, ({ modelled }) => modelled.seconds);
}

const classColumns: Column[] = deviceClasses.map(({ name }) => ({ head: `${name}, us` }));

function kernelTable(same: readonly ModelledStep[]): string {
  const main = same.find(({ device }) => device === reference) ?? same[0];
  if (main === undefined) return "";
  const columns: Column[] = [
    { head: stepName(main), align: "left" },
    { head: "", align: "left" },
    { head: "launches" },
    { head: "grid" },
    { head: "a SM" },
    { head: "turns" },
    { head: "KB" },
    ...classColumns,
    { head: `${main.device}: limit`, align: "left" },
  ];
  const rows = kernelLines(main).map((line) => {
    const [first] = line.kernels;
    return [
      line.label,
      "modelled",
      String(line.times),
      String(first?.grid ?? ""),
      String(first?.modelled.resident ?? ""),
      numberText(first?.modelled.turns),
      numberText((first?.memoryBytes ?? 0) / 1024),
      ...deviceClasses.map(({ name }) => {
        const seconds = secondsOf(
          same.find(({ device }) => device === name),
          line,
        );
        return seconds === null ? "-" : micro(seconds);
      }),
      first === undefined ? "" : boundWords[first.modelled.bound],
    ];
  });
  return tableText(columns, rows, colorsOf(process.stdout));
}

function stepTable(groups: readonly (readonly ModelledStep[])[]): string {
  const columns: Column[] = [
    { head: "step", align: "left" },
    { head: "", align: "left" },
    { head: "kernels" },
    { head: "a layer" },
    ...deviceClasses.map(({ name }): Column => ({ head: `${name}, us (gaps; floor)` })),
  ];
  const rows = groups.map((same) => [
    same[0] === undefined ? "" : stepName(same[0]),
    "modelled",
    [...new Set(same.map(({ launches }) => launches))].join("/"),
    [...new Set(same.map(({ kernelsPerLayer }) => kernelsPerLayer))].join("/"),
    ...deviceClasses.map(({ name }) => {
      const step = same.find(({ device }) => device === name);
      return step === undefined ? "-" : `${micro(step.modelledSeconds)} (${micro(step.gapSeconds)}; ${micro(step.floorSeconds)})`;
    }),
  ]);
  return tableText(columns, rows, colorsOf(process.stdout));
}

function assumptionLines({ tier, simulatedLayers }: ModelledReport): string[] {
  const a = assumptions;
  const counted =
    tier === "checked"
      ? "bytes of memory are sectors touched, each once; bytes asked for are those of every access"
      : "cp.async bytes, matrix instructions, grids and graph nodes are counted; bytes of memory, and what else is read or written, follow from the shapes";
  return [
    "Assumptions. Nothing above was measured on a GPU. bench/cuda/kernel-time.ts is the whole model, device-classes.ts names the sources.",
    `- time of a kernel = gap + latency + sum over turns of max(memory, L2, tensor); a step is the sum of its kernels, one after another.`,
    `- gap between kernels: ${micro(a.graphGapSeconds)} us between nodes of a graph, ${micro(a.launchGapSeconds)} us between plain launches (what follows the last layer's attention in a prefill).`,
    `- memory: at most ${numberText(100 * a.bandwidthShare)} % of the published bandwidth, and at most bytes in flight / loaded latency, ` +
      `taken as ${numberText(a.loadedLatency)} times the idle one. In flight: the shared memory of a block that uses cp.async, else ${a.bytesPerThread} bytes a thread.`,
    `- L2: ${a.l2BytesPerClock} bytes a clock and SM. Tensor cores: ${numberText(100 * a.tensorShare)} % of the rate of mma.sync (on H100 and B200 that is not the data sheet's).`,
    "- turns: equal pieces of work over the places for them; a short last turn has fewer bytes in flight. Causal prefill tiles count as equal.",
    "- left out: arithmetic outside of the tensor cores, barriers and waits inside of a block, the launch of a graph, the patch of its inputs, the copy of its outputs,",
    "  programmatic launch edges, clocks below boost, other work on the device.",
    `- counts: the addon on the simulated driver, ${tier} tier; ${counted}.`,
    simulatedLayers === shape.layers
      ? `- all ${shape.layers} layers were simulated.`
      : `- ${simulatedLayers} of ${shape.layers} layers were simulated (all do the same work): the first one's launches are taken ${shape.layers - 1} times, the last one's once.`,
    "- sequences of a batch share their first pages in the simulation, so that one prompt is computed and not 32; their bytes are counted for each.",
    "- floor: weights and cache once at the full published bandwidth; of a prefill also its FLOP at the full rate of mma.sync.",
    `Aim: at most ${aim.kernelsPerLayer} kernels a layer and ${aim.stepMicroseconds} us a decode step modelled on ${aim.device}.`,
  ];
}

export function printModelled(report: ModelledReport): void {
  const groups = bySteps(report.steps);
  for (const same of groups) printLine(`${kernelTable(same)}\n`);
  printLine(`${stepTable(groups)}\n`);
  for (const line of assumptionLines(report)) printLine(line);
}
