// `prepare`: a fresh clone's `npm ci` leaves a working command line. Without the development dependencies an existing dist/ must do.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { commandOf, root, run } from "./steps.mjs";

function compiler() {
  try {
    return commandOf("typescript", "tsc");
  } catch {
    return null;
  }
}

const tsc = compiler();
if (tsc !== null) {
  process.exitCode = await run(process.execPath, [tsc, "-p", "tsconfig.json"]);
} else if (!existsSync(join(root, "dist/index.js"))) {
  console.error("dist/ is not built and TypeScript is not installed: run `npm ci` without --omit=dev.");
  process.exitCode = 1;
}
