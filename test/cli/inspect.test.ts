import t from "tap";
import { parseJson, splitwiser } from "./spawn.js";

interface Report {
  config: { family: string; layers: number; hidden: number; parameters: number; dtype: string };
  files: { name: string; bytes: number }[];
  device: { id: string; threads: number };
  memory: { weightBytes: number; kvBytes: number; activationBytes: number; totalBytes: number; pages: number; pageBytes: number };
}

t.test("inspect --json is the report of the bundled model with its memory plan", async (t) => {
  const ended = await splitwiser({ args: ["inspect", "--json"] });
  const { config, files, device, memory } = parseJson<Report>(ended);
  t.equal(ended.code, 0);
  t.match(config, { family: "opt", layers: 4, hidden: 256, parameters: 4_732_928, dtype: "f16" });
  t.ok(files.some(({ name, bytes }) => name === "model.safetensors" && bytes === 9_473_360));
  t.equal(device.id, "cpu");
  t.equal(memory.kvBytes, memory.pages * memory.pageBytes);
  t.equal(memory.totalBytes, memory.weightBytes + memory.kvBytes + memory.activationBytes);
});

t.test("weights kept as f32 take about twice the memory in the plan", async (t) => {
  const stored = parseJson<Report>(await splitwiser({ args: ["inspect", "--json"] }));
  const widened = parseJson<Report>(await splitwiser({ args: ["inspect", "--json", "--dtype", "f32"] }));
  t.ok(widened.memory.weightBytes > 1.8 * stored.memory.weightBytes);
});

t.test("without --json the report has its three sections and no colour", async (t) => {
  const { code, stdout } = await splitwiser({ args: ["inspect"] });
  t.equal(code, 0);
  for (const title of ["Model", "Device", "Memory"]) t.match(stdout, new RegExp(`^${title}$`, "m"));
  t.match(stdout, /4,732,928 parameters/);
  t.match(stdout, /KV cache/);
  t.notMatch(stdout, "\u001b");
});
