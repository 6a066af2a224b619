// Traffic of each kernel, in exact counts of the checked tier. test/cuda/traffic_test.cpp bounds the same numbers on small shapes; here they
// stand for OPT-125M's own. Pages that sequences share (counts.ts) make the decode attention's unique sectors fewer: there the bytes
// copied are held against the bytes of all sequences instead.
import { colorsOf, printLine, tableText, type Column } from "../../dist/cli/terminal.js";
import { say } from "../row.js";
import { countSteps } from "./counts.js";
import { deviceClasses } from "./device-classes.js";
import type { Step, StepLaunch } from "./steps.js";
import { needsOf } from "./tiling.js";

export interface TrafficRow {
  step: string;
  role: string;
  kernel: string;
  /** Unique 32-byte sectors over those that the work cannot avoid. null: the sequences share pages. */
  unique: number | null;
  /** Bytes asked for over those of the documented tiling. */
  requested: number;
  /** Weights, keys and values copied over what there is of them: 1 = each byte exactly once. null: not in decode, or none. */
  streamed: number | null;
  /** Bank conflicts of copies, matrix loads, plain loads and stores. */
  conflicts: { copies: number; matrices: number; plain: number };
  /** Matrix instructions over the tiles' need; null: none needed. */
  mma: number | null;
}

const sectorBytes = 32;

export function trafficRow(launch: StepLaunch, step: Step): TrafficRow {
  const need = needsOf(launch, step);
  const count = (name: string): number => launch.trace.counters[name] ?? 0;
  const sectors = count("unique_load_sectors") + count("unique_store_sectors");
  const decode = step.phase === "decode";
  const shares = decode && launch.role === "attention" && step.rows > 1;
  // What a decode step copies beside weights, keys and values are the rows themselves: the tiling says how often.
  const others = need.asyncBytes - need.streamedBytes;
  return {
    step: decode ? `decode ${step.rows} x ${step.context}` : `prefill ${step.rows}`,
    role: launch.role,
    kernel: launch.kernel,
    unique: shares ? null : (sectors * sectorBytes) / need.compulsoryBytes,
    requested: (count("global_load_bytes") + count("global_store_bytes")) / need.requestedBytes,
    streamed: decode && need.streamedBytes > 0 ? (count("async_copy_bytes") - others) / need.streamedBytes : null,
    conflicts: {
      copies: count("async_copy_conflicts"),
      matrices: count("ldmatrix_conflicts"),
      plain: count("shared_load_conflicts") + count("shared_store_conflicts"),
    },
    mma: need.mma === 0 ? null : count("mma") / need.mma,
  };
}

export function trafficRows(steps: readonly Step[]): TrafficRow[] {
  const rows = new Map<string, TrafficRow>();
  for (const step of steps) {
    for (const launch of step.launches.filter(({ role }) => role !== "other")) {
      const row = trafficRow(launch, step);
      const key = JSON.stringify(row);
      if (!rows.has(key)) rows.set(key, row);
    }
  }
  return [...rows.values()];
}

/** Of a prefill and a decode step, by the checked tier: some minutes. */
export async function countTraffic(): Promise<TrafficRow[]> {
  const device = deviceClasses.find(({ name }) => name === "H100");
  if (device === undefined) throw new Error("bench/cuda/device-classes.ts has no H100");
  say("traffic: 2 layers of OPT-125M's shape on the simulated driver, checked tier");
  return trafficRows(await countSteps({ device, tier: "checked", layers: 2, prefill: 512, decode: [{ batch: 1, context: 512 }] }));
}

export function printTraffic(rows: readonly TrafficRow[]): void {
  const columns: Column[] = [
    { head: "traffic, counted", align: "left" },
    { head: "kernel", align: "left" },
    { head: "unique / compulsory" },
    { head: "requested / tiling" },
    { head: "weights and KV, times" },
    { head: "mma / need" },
    { head: "conflicts: cp.async, ldmatrix, plain" },
  ];
  const ratio = (value: number | null): string => (value === null ? "-" : value.toFixed(3));
  const cells = rows.map(({ step, role, kernel, unique, requested, streamed, mma, conflicts }) => [
    `${step}: ${role}`,
    kernel,
    ratio(unique),
    ratio(requested),
    ratio(streamed),
    ratio(mma),
    `${conflicts.copies}, ${conflicts.matrices}, ${conflicts.plain}`,
  ]);
  printLine(tableText(columns, cells, colorsOf(process.stdout)));
  printLine("Exact counts of the simulated device with H100's SMs. What kernels of rows need of a step's arrays is among the compulsory sectors.");
  printLine(`Bounds are tests: npm run test:cuda -- "traffic". ${rows.length} kinds of launches.`);
}
