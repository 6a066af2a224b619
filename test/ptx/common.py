"""What the modules of test/ptx/ share. A module is a file of functions called test_*, each of which calls check(); `npm run test:ptx`
runs them all, `python3 test/ptx/gemm.py` (with common.main(globals()) at its end) those of one file.

    from common import check, check_near, load, upload, download
    class Params(ctypes.Structure): _fields_ = [...]             # C's own alignment rules
    def test_rows():
        module = load("rows.cu", ["embed_f16"])                  # kernels/rows.cu; only these kernels are translated
        x = upload(np.arange(64, dtype=np.float32))
        out = module.alloc(256)                                  # poisoned with NaN
        launch(module, "embed_f16", 4, 128, 0, Params(x.ptr, out.ptr))
        check("embed copies", np.array_equal(download(out, np.float32), np.arange(64)))
"""
import ctypes, hashlib, os, re, shutil, subprocess, sys, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KERNELS = os.path.join(ROOT, "kernels")
CACHE = os.path.join(ROOT, "build-ptx")
os.environ.setdefault("PTXRUN_CACHE", os.path.join(CACHE, "ptxrun"))
sys.path.insert(0, os.path.join(HERE, "ptxrun"))


def end(message):
    """Says what is missing and ends with a failure that the callers count."""
    print(message, file=sys.stderr)
    print("0 passed, 1 failed")
    sys.exit(1)


try:
    import numpy as np
except ImportError:
    end("test/ptx needs numpy, and this Python does not have it. Install it: python3 -m pip install numpy (Debian: apt-get install python3-numpy).")

import ptxrun  # after PTXRUN_CACHE is set: it reads it when it is imported


# ---- compiling ------------------------------------------------------------------------------------

def find_nvcc():
    """Where scripts/nvcc.mjs looks too: CUDACXX, CUDA_PATH, CUDA_HOME, the PATH, /usr/local/cuda."""
    folders = [os.environ[name] for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)]
    for path in [os.environ.get("CUDACXX"), *(os.path.join(folder, "bin", "nvcc") for folder in folders), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]:
        if path and os.access(path, os.X_OK):
            return path
    end("test/ptx needs nvcc of the CUDA toolkit 13.x. Install it, or name it: CUDACXX=/path/to/nvcc npm run test:ptx")


FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-arch=compute_80"]  # as scripts/kernels.mjs compiles


def sources_of(path, seen=None):
    """The file and what it includes from its own folder or kernels/, each once."""
    seen = [] if seen is None else seen
    if path in seen:
        return seen
    seen.append(path)
    for target in re.findall(r'^\s*#\s*include\s*"([^"]+)"', open(path).read(), re.M):
        for folder in (os.path.dirname(path), KERNELS):
            if os.path.exists(os.path.join(folder, target)):
                sources_of(os.path.join(folder, target), seen)
                break
    return seen


def ptx_of(path):
    """The PTX of a .cu file (a name alone: of kernels/), kept in build-ptx/ by content."""
    if not os.path.isabs(path):
        path = os.path.join(KERNELS, path)
    digest = hashlib.sha256("\0".join([*FLAGS, *(open(source).read() for source in sources_of(path))]).encode()).hexdigest()[:16]
    os.makedirs(CACHE, exist_ok=True)
    ptx = os.path.join(CACHE, f"{os.path.splitext(os.path.basename(path))[0]}-{digest}.ptx")
    if not os.path.exists(ptx):
        part = f"{ptx}.{os.getpid()}"
        result = subprocess.run([find_nvcc(), "-ptx", *FLAGS, f"-I{KERNELS}", path, "-o", part], capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"nvcc failed on {path}:\n{result.stderr[:4000]}")
        os.replace(part, ptx)
    return ptx


_modules = {}


def load(path, kernels=None):
    """The module of a .cu file; `kernels`: names of those that will be launched (None: all, which can take long to compile)."""
    key = (path, tuple(kernels or ()))
    if key not in _modules:
        _modules[key] = ptxrun.load(ptx_of(path), only=None if kernels is None else list(kernels))
    return _modules[key]


def launch(module, kernel, grid, block, shared_bytes, params, **options):
    """One kernel of the house: one parameter struct by value (a ctypes.Structure or bytes). Shared-memory races are errors.
    options: seed, race, async_mode, coresident, ... of ptxrun's launch()."""
    options.setdefault("race", True)
    return module.launch(kernel, grid=grid, block=block, smem=shared_bytes, args=[bytes(params)], **options)


# ---- memory and numbers -----------------------------------------------------------------------------

def upload(array, readonly=False):
    """A device buffer with an array's bytes, exactly as long: an access beyond it is an error."""
    return ptxrun.alloc(np.ascontiguousarray(array).tobytes(), readonly)


def download(buffer, dtype, shape=None):
    array = np.frombuffer(buffer.read(), dtype=dtype)
    return array if shape is None else array.reshape(shape)


def f16_bits(values):
    """Rounded to the nearest, ties to even, as the 16 bits."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32).astype(np.float16).view(np.uint16)


def f16_values(bits):
    return np.asarray(bits, dtype=np.uint16).view(np.float16).astype(np.float32)


def bf16_bits(values):
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(np.asarray(values, dtype=np.float32)), np.uint16(0x7FFF), rounded)


def bf16_values(bits):
    return (np.asarray(bits, dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)


# ---- checks -----------------------------------------------------------------------------------------

_counts = {"passed": 0, "failed": 0}


def check(name, condition, detail=""):
    """Counts one check, prints it when it failed."""
    passed = bool(condition)
    _counts["passed" if passed else "failed"] += 1
    if not passed:
        print(f"not ok - {name}{f': {detail}' if detail else ''}", flush=True)
    return passed


def check_equal(name, got, expected):
    """Equal to the bit (NaN equals itself)."""
    got, expected = np.ascontiguousarray(got), np.ascontiguousarray(expected)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return check(name, False, f"{got.dtype}{list(got.shape)} came, expected {expected.dtype}{list(expected.shape)}")
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[got.dtype.itemsize]
    wrong = np.flatnonzero(got.view(unsigned).ravel() != expected.view(unsigned).ravel())
    at = wrong[0] if wrong.size else 0
    return check(name, wrong.size == 0, f"{wrong.size} of {got.size} differ, first at {at}: {got.ravel()[at] if got.size else ''}, "
                                        f"expected {expected.ravel()[at] if got.size else ''}")


def check_near(name, got, expected, absolute, relative=0.0):
    """|got - expected| <= absolute + |expected| * relative in float64; equal infinities pass, NaN fails."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        good = (got == expected) | (np.abs(got - expected) <= absolute + np.abs(expected) * relative)
    wrong = np.flatnonzero(~good.ravel())
    at = wrong[0] if wrong.size else 0
    return check(name, wrong.size == 0, f"{wrong.size} of {got.size} are too far off, first at {at}: {got.ravel()[at] if got.size else ''}, "
                                        f"expected {expected.ravel()[at] if got.size else ''}")


def run_tests(namespace, chosen=()):
    """Runs the test_* functions of a module, or those whose name holds one of `chosen`; an exception is one failed check."""
    for name, test in list(namespace.items()):
        if not name.startswith("test_") or not callable(test) or (chosen and not any(part in name for part in chosen)):
            continue
        before, began = dict(_counts), time.time()
        try:
            test()
            if before == _counts:
                check(name, False, "the test made no check")
        except Exception as error:  # of the kernel, the checker or the test: the other tests go on
            check(name, False, f"{type(error).__name__}: {error}")
            if not isinstance(error, ptxrun.PtxError):
                traceback.print_exc()
        failed = _counts["failed"] - before["failed"]
        print(f"{'ok' if failed == 0 else 'not ok'} - {name} ({_counts['passed'] + _counts['failed'] - before['passed'] - before['failed']} checks, "
              f"{time.time() - began:.1f} s)", flush=True)


def counts():
    return _counts["passed"], _counts["failed"]


def finish():
    passed, failed = counts()
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 and passed > 0 else 1)


def main(namespace):
    """The last line of a module: `if __name__ == "__main__": common.main(globals())`; arguments are parts of names."""
    if namespace.get("__name__") == "__main__":
        run_tests(namespace, sys.argv[1:])
        finish()
