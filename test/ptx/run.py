"""`npm run test:ptx -- [module ...]`: runs test/ptx/*.py, each kernel as the PTX that nvcc makes, under ptxrun; ends with the counts.
A module is a program: it prints "N passed, N failed" at its end (common.main does), or lines that begin with "ok - " or "not ok - ", or
counts as one check by its exit code."""
import os, re, subprocess, sys, time

import common

HERE = os.path.dirname(os.path.abspath(__file__))
names = sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py") and name not in ("common.py", "run.py"))
chosen = [name.removesuffix(".py") for name in sys.argv[1:]] or names
unknown = [name for name in chosen if name not in names]
if unknown:
    common.end(f"test/ptx has no module {', '.join(unknown)}: expected some of {', '.join(names)}")


def run_module(name):
    """(passed, failed)"""
    counts, passed, failed = None, 0, 0
    program = subprocess.Popen([sys.executable, "-u", os.path.join(HERE, f"{name}.py")], stdout=subprocess.PIPE, text=True)
    for line in program.stdout:
        found = re.fullmatch(r"(\d+) passed, (\d+) failed\s*", line)
        if found:
            counts = int(found.group(1)), int(found.group(2))
            continue
        print(line, end="", flush=True)
        passed += line.startswith("ok - ")
        failed += line.startswith("not ok - ")
    code = program.wait()
    passed, failed = counts or (passed, failed)
    if code != 0:
        failed = max(failed, 1)
    return passed if passed + failed > 0 else 1, failed


passed, failed = 0, 0
for name in chosen:
    began = time.time()
    print(f"== {name}", flush=True)
    more = run_module(name)
    passed, failed = passed + more[0], failed + more[1]
    print(f"== {name}: {more[0]} passed, {more[1]} failed, {time.time() - began:.1f} s", flush=True)
print(f"{passed} passed, {failed} failed")
sys.exit(0 if failed == 0 else 1)
