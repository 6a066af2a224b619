// `npm run test:native -- [part of a name ...]`: builds and runs the native tests.
import { buildNative, report, runNativeTests } from "./steps.mjs";

await report([
  [
    "native tests",
    async () => {
      await buildNative({ targets: ["splitwiser_tests"], options: { SPLITWISER_TESTS: "ON" } });
      return runNativeTests({ filters: process.argv.slice(2) });
    },
  ],
]);
