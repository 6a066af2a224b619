// `npm run test:ptx -- [module ...]`: kernels and the functions of kernels/ptx.cuh as the PTX that nvcc makes, under test/ptx/ptxrun: a second
// opinion beside the simulated driver. Modules are the names of test/ptx/*.py; all of them when none is named.
import { buildCuda } from "./cuda-steps.mjs";
import { report, run } from "./steps.mjs";

async function ptx() {
  await buildCuda(["ptx_functions"]);
  let counts;
  const onLine = (line) => {
    const found = /^(\d+) passed, (\d+) failed$/.exec(line);
    if (found !== null) counts = { passed: Number(found[1]), failed: Number(found[2]) };
  };
  try {
    const code = await run("python3", ["test/ptx/run.py", ...process.argv.slice(2)], { onLine });
    if (counts === undefined) throw new Error(`test/ptx/run.py ended with ${code} before its counts`);
    return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
  } catch (error) {
    if (!/^python3 was not found/.test(error.message)) throw error;
    throw new Error("test:ptx needs Python 3 with numpy (Debian: apt-get install python3-numpy)");
  }
}

await report([["PTX", ptx]]);
