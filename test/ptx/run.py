"""`npm run test:ptx -- [module ...]`: runs test/ptx/*.py, each kernel as the PTX that nvcc makes, under ptxrun; ends with the counts.
For each further seed (PTXRUN_SEED) the schedule of threads, blocks and asynchronous copies is another one."""
import importlib, os, sys, time

import common

HERE = os.path.dirname(os.path.abspath(__file__))
names = sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py") and name not in ("common.py", "run.py"))
chosen = [name.removesuffix(".py") for name in sys.argv[1:]] or names
unknown = [name for name in chosen if name not in names]
if unknown:
    common.end(f"test/ptx has no module {', '.join(unknown)}: expected some of {', '.join(names)}")
for name in chosen:
    began = time.time()
    print(f"== {name}", flush=True)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        common.check(name, False, f"{type(error).__name__}: {error}")
        continue
    common.run_tests(vars(module))
    print(f"== {name}: {time.time() - began:.1f} s", flush=True)
common.finish()
