// Where the tests' models lie. Tests run from their sources, so paths are relative to this file.

import { fileURLToPath } from "node:url";

const at = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** The project's folder. */
export const root = at("../../");

/** The tiny models with goldens. */
export const families = {
  opt: at("../fixtures/families/opt"),
  "opt-350m": at("../fixtures/families/opt-350m"),
} as const;

export type Family = keyof typeof families;
export const familyNames: readonly Family[] = ["opt", "opt-350m"];

/** The model that ships with the package. */
export const bundledModel = at("../../models/splitwiser-radiology-opt");

/** Scripts that tests run in a process of their own. */
export const libraryUrl = new URL("../../dist/index.js", import.meta.url).href;
