// The addon that users get: nothing of NVIDIA is linked, and it stays small with the kernels of all six targets in it.
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../../helpers/paths.js";

interface Report {
  files: { bytes: number }[];
}
const addon = join(root, "build/Release/splitwiser.node");
const bytesIn = (name: string): number =>
  (JSON.parse(readFileSync(join(root, name), "utf8")) as Report).files.reduce((sum, { bytes }) => sum + bytes, 0);

t.test("the addon needs no library of NVIDIA", async (t) => {
  const { status, stdout } = spawnSync("readelf", ["-d", "--wide", addon], { encoding: "utf8" });
  t.equal(status, 0, "readelf reads it");
  const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1] ?? "");
  t.ok(needed.length > 0, needed.join(", "));
  t.same(needed.filter((name) => /cuda|cudart|nv|cublas|cudnn/i.test(name)), []);
  t.notMatch(stdout, /RPATH|RUNPATH/, "and looks for none in a folder of this machine");
});

t.test("with all six targets it is at most 16 MB", async (t) => {
  const kernels = bytesIn("build-kernels/all/kernels.json");
  const others = statSync(addon).size - bytesIn("build/kernels/kernels.json");
  t.ok(kernels > 0, `${(kernels / 1e6).toFixed(2)} MB of kernels`);
  t.ok(kernels + others <= 16e6, `${((kernels + others) / 1e6).toFixed(2)} MB in all`);
});
