// Every environment variable of this library.

export interface Environment {
  /** `SPLITWISER_LOG`: "error" | "warn" | "info" | "debug": print what `onLog` would get to stderr. Default: print nothing. */
  log: string | undefined;
  // SPLITWISER_ISA ("portable" | "avx2" | "avx512" | "neon") forces an instruction set. Native code reads it.
  // SPLITWISER_CUDA_LIBRARY names another file than libcuda.so.1, or is "none": no driver. Native code reads it.
  // SPLITWISER_PREBUILD names a folder to load the addon from. node-gyp-build reads it.
}

export function readEnvironment(): Environment {
  return { log: process.env["SPLITWISER_LOG"] };
}
