// `prepare` and `build:ts`: a fresh clone's `npm ci` leaves a working command line. Without the development dependencies an existing dist/ must do.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildTypeScript, commandOf, root } from "./steps.mjs";

function hasCompiler() {
  try {
    return existsSync(commandOf("typescript", "tsc"));
  } catch {
    return false;
  }
}

if (hasCompiler()) {
  await buildTypeScript().catch((error) => {
    console.error(error.message); // tsc has said why
    process.exitCode = 1;
  });
} else if (!existsSync(join(root, "dist/index.js"))) {
  console.error("dist/ is not built and TypeScript is not installed: run `npm ci` without --omit=dev.");
  process.exitCode = 1;
}
