"""`npm run test:ptx -- [module ...]`: runs test/ptx/*.py, each kernel as the PTX that nvcc makes, under ptxrun; ends with the counts.
A module is a program: it prints "N passed, N failed" at its end (common.main does), or lines that begin with "ok - " or "not ok - ", or
counts as one check by its exit code."""
import concurrent.futures, os, re, subprocess, sys, time

import common

HERE = os.path.dirname(os.path.abspath(__file__))
names = sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py") and name not in ("common.py", "run.py"))
chosen = [name.removesuffix(".py") for name in sys.argv[1:]] or names
unknown = [name for name in chosen if name not in names]
if unknown:
    common.end(f"test/ptx has no module {', '.join(unknown)}: expected some of {', '.join(names)}")


def run_module(name):
    """Its output, passed, failed, seconds."""
    began, counts, passed, failed, lines = time.time(), None, 0, 0, []
    program = subprocess.Popen([sys.executable, "-u", os.path.join(HERE, f"{name}.py")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in program.stdout:
        found = re.fullmatch(r"(\d+) passed, (\d+) failed\s*", line)
        if found:
            counts = int(found.group(1)), int(found.group(2))
            continue
        lines.append(line)
        passed += line.startswith("ok - ")
        failed += line.startswith("not ok - ")
    code = program.wait()
    passed, failed = counts or (passed, failed)
    if code != 0:
        failed = max(failed, 1)
    return "".join(lines), passed if passed + failed > 0 else 1, failed, time.time() - began


# Most of a module's time is one process at a time: g++ on what nvcc's PTX became, or a kernel's blocks.
passed, failed = 0, 0
with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
    for name, module in [(name, pool.submit(run_module, name)) for name in chosen]:
        text, *more, seconds = module.result()
        print(f"== {name}\n{text}== {name}: {more[0]} passed, {more[1]} failed, {seconds:.1f} s", flush=True)
        passed, failed = passed + more[0], failed + more[1]
print(f"{passed} passed, {failed} failed")
sys.exit(0 if failed == 0 else 1)
