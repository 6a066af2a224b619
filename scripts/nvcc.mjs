// Finds nvcc and the GPUs of this machine. No dependencies: it runs while npm installs the package.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

/** What prebuilds hold; a cubin runs on its own compute capability and on later ones of the same major number. */
export const allArchs = [80, 86, 89, 90, 100, 120];
const toolkit = "the CUDA toolkit 13.x (nvcc)";

function capture(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });
  return { ok: result.status === 0, text: `${result.stdout ?? ""}${result.stderr ?? ""}` };
}

function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function candidates() {
  const { CUDACXX, CUDA_PATH, CUDA_HOME, PATH = "" } = process.env;
  const folders = [...[CUDA_PATH, CUDA_HOME].filter(Boolean).map((folder) => join(folder, "bin")), ...PATH.split(delimiter), "/usr/local/cuda/bin", "/usr/local/cuda-13/bin"];
  return [...(CUDACXX ? [CUDACXX] : []), ...folders.filter((folder) => folder !== "").map((folder) => join(folder, "nvcc"))];
}

/** `{ nvcc, version, include }`, or `{ reason }` in one sentence that ends with the remedy. */
export function findNvcc() {
  const wanted = (process.env.SPLITWISER_CUDA ?? "auto").toLowerCase();
  if (["off", "0", "false"].includes(wanted)) return { reason: `SPLITWISER_CUDA=${process.env.SPLITWISER_CUDA} turns CUDA off` };
  if (process.platform !== "linux") return { reason: `the CUDA backend is for Linux, this is ${process.platform}` };
  const { CUDACXX } = process.env;
  if (CUDACXX && !executable(CUDACXX)) return { reason: `CUDACXX=${CUDACXX} is not an executable file: name nvcc of ${toolkit}, or unset it` };
  const others = [];
  for (const nvcc of candidates().filter(executable)) {
    const version = /release \d+\.\d+, V([\d.]+)/.exec(capture(nvcc, ["--version"]).text)?.[1];
    if (version?.startsWith("13.") !== true) {
      others.push(`${nvcc} is ${version === undefined ? "no nvcc that answers to --version" : `version ${version}`}`);
      continue;
    }
    // nvcc may be a script or a link: its own answer says where the toolkit lies.
    const top = /^#\$ TOP=(.+)$/m.exec(capture(nvcc, ["--dryrun", "-x", "cu", "-c", "/dev/null"]).text)?.[1]?.trim();
    const target = process.arch === "arm64" ? "targets/sbsa-linux/include" : "targets/x86_64-linux/include";
    const include = top === undefined ? undefined : ["include", target].map((folder) => resolve(top, folder)).find((folder) => existsSync(join(folder, "cuda.h")));
    if (include !== undefined) return { nvcc, version, include };
    others.push(`${nvcc} has no cuda.h beside it`);
  }
  const found = others.length === 0 ? "no nvcc was found (CUDACXX, CUDA_PATH, CUDA_HOME, the PATH and /usr/local/cuda were tried)" : others.join("; ");
  return { reason: `${found}: install ${toolkit}, or name it by CUDACXX=/path/to/nvcc` };
}

/** Compute capabilities of the GPUs here, as 80, 86, ...; none when nvidia-smi is not there or has nothing to say. */
function presentGpus() {
  const { ok, text } = capture("nvidia-smi", ["--query-gpu=compute_cap", "--format=csv,noheader"], { timeout: 20_000 });
  return ok ? [...text.matchAll(/^\s*(\d+)\.(\d)\s*$/gm)].map((match) => Number(match[1]) * 10 + Number(match[2])) : [];
}

/** The targets to compile for, ascending: SPLITWISER_CUDA_ARCHS ("80;90", "all"), else those of the GPUs here, else sm_80. */
export function chosenArchs(wish = process.env.SPLITWISER_CUDA_ARCHS ?? "") {
  if (wish.trim().toLowerCase() === "all") return allArchs;
  const named = wish.split(/[;, ]+/).filter((word) => word !== "");
  const archs = named.map((word) => Number(word.replace(/^sm_?/, "")));
  const unknown = named.filter((_, index) => !allArchs.includes(archs[index]));
  if (unknown.length > 0) throw new Error(`SPLITWISER_CUDA_ARCHS names ${unknown.join(", ")}: expected "all" or some of ${allArchs.join(";")}`);
  if (archs.length > 0) return [...new Set(archs)].sort((a, b) => a - b);
  const present = presentGpus().map((gpu) => allArchs.filter((arch) => arch <= gpu && Math.floor(arch / 10) === Math.floor(gpu / 10)).at(-1));
  const fitting = [...new Set(present.filter((arch) => arch !== undefined))].sort((a, b) => a - b);
  return fitting.length > 0 ? fitting : [80];
}
