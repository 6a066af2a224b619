// The native tests under sanitizers: AddressSanitizer with UndefinedBehaviorSanitizer, then ThreadSanitizer.
// `npm run test:sanitize -- [address|thread]`
import { join } from "node:path";
import { buildTargets, report, root, run, runNativeTests } from "./steps.mjs";

const variants = {
  address: { sanitize: "address,undefined", env: { ASAN_OPTIONS: "detect_leaks=1:strict_string_checks=1", UBSAN_OPTIONS: "print_stacktrace=1" } },
  thread: { sanitize: "thread", env: { TSAN_OPTIONS: "halt_on_error=0:second_deadlock_stack=1" } },
};
const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in variants));
if (unknown.length > 0) throw new Error(`unknown sanitizer ${unknown.join(", ")}: expected ${Object.keys(variants).join(" or ")}`);

await report(
  Object.entries(variants)
    .filter(([name]) => chosen.length === 0 || chosen.includes(name))
    .map(([name, { sanitize, env }]) => [
      `native tests, -fsanitize=${sanitize}`,
      async () => {
        const folder = join(root, `build-${name}`);
        const options = { CMAKE_BUILD_TYPE: "Release", SPLITWISER_TESTS: "ON", SPLITWISER_SANITIZE: sanitize };
        await buildTargets({ folder, targets: ["splitwiser_tests"], options });
        return runNativeTests({ folder, env });
      },
    ]),
);
