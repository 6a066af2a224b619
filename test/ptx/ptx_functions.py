"""Every function of kernels/ptx.cuh: test/ptx/functions.cu as nvcc's PTX under ptxrun beside the same source on the simulated device's SIMT
layer (build/ptx, made by `npm run test:ptx`) and beside what the PTX ISA says, computed with numpy; and the text of the instructions."""
import ctypes, os, re

import common
from common import bf16_bits, bf16_values, check, check_equal, check_near, download, f16_bits, f16_values, load, np, ptx_of, upload

SOURCE = os.path.join(common.HERE, "functions.cu")
LIBRARY = os.path.join(common.ROOT, "build", "ptx", "libptx_functions.so")
SEEDS = (1, 2, 7)


class Params(ctypes.Structure):
    _fields_ = [("input", ctypes.c_uint64), ("more", ctypes.c_uint64), ("out", ctypes.c_uint64), ("count", ctypes.c_int32)]


_host = None


def host():
    global _host
    if _host is None:
        if not os.path.exists(LIBRARY):
            raise RuntimeError("build/ptx/libptx_functions.so is not there: `npm run test:ptx` builds it")
        _host = ctypes.CDLL(LIBRARY)
        _host.simt_host_run.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64,
                                        ctypes.c_char_p, ctypes.c_size_t]
    return _host


def on_ptx(kernel, array, out_bytes, more, grid, block, shared, count, seed):
    """nvcc's PTX; `out` is zero before."""
    source, extra = upload(array, readonly=True), upload(more, readonly=True)
    out = upload(np.zeros(out_bytes, np.uint8))
    common.launch(load(SOURCE), kernel, grid, block, shared, Params(source.ptr, extra.ptr, out.ptr, count), seed=seed)
    result = download(out, np.uint8)
    for buffer in (source, extra, out):
        buffer.free()
    return result


def aligned(array):
    """A copy that begins at a multiple of 16."""
    raw = np.empty(array.nbytes + 16, np.uint8)
    start = -raw.ctypes.data % 16
    copy = raw[start:start + array.nbytes]
    copy[:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return copy


def on_simt(kernel, array, out_bytes, more, grid, block, shared, count, seed):
    source, extra, out = aligned(array), aligned(more), aligned(np.zeros(out_bytes, np.uint8))
    params = Params(source.ctypes.data, extra.ctypes.data, out.ctypes.data, count)
    message = ctypes.create_string_buffer(2000)
    if host().simt_host_run(kernel.encode(), ctypes.byref(params), grid, block, shared, seed, message, len(message)) != 0:
        raise RuntimeError(f"{kernel} on the SIMT layer: {message.value.decode()}")
    return out.copy()


def run_both(kernel, array, dtype, out_count, more=np.zeros(1, np.uint8), grid=1, block=32, shared=0, count=0):
    """[(who, result)] of both, for several seeds of their schedules."""
    array, more = np.ascontiguousarray(array), np.ascontiguousarray(more)
    out_bytes = out_count * np.dtype(dtype).itemsize
    results = []
    for seed in SEEDS:
        for who, runner in (("PTX", on_ptx), ("SIMT", on_simt)):
            bytes_ = runner(kernel, array, out_bytes, more, grid, block, shared, count, seed)
            results.append((f"{kernel}, {who}, seed {seed}", np.frombuffer(bytes_.tobytes(), dtype)))
    return results


def both_equal(kernel, array, expected, **options):
    for name, got in run_both(kernel, array, expected.dtype, expected.size, **options):
        check_equal(name, got, expected.ravel())


def rng():
    return np.random.default_rng(20250101)


# ---- memory -----------------------------------------------------------------------------------------

def test_shared_memory_and_addresses():
    both_equal("shared_memory_address", np.zeros(4, np.uint32), np.append(8 * np.arange(128), 0).astype(np.uint32), block=128, shared=1024)


def test_cp_async():
    for size, kernel in ((16, "cp_async_16_bytes"), (4, "cp_async_4_bytes")):
        source = rng().integers(0, 256, (128, size), dtype=np.uint8)
        valid = np.arange(128) % (size + 1)
        expected = np.where(np.arange(size) < valid[:, None], source, 0).astype(np.uint8)
        both_equal(kernel, source, expected, more=valid.astype(np.int32), block=128, shared=128 * size)
    groups = rng().integers(0, 2**32, (128, 4), dtype=np.uint32)
    both_equal("cp_async_wait_for_all_but_one", groups, groups, block=32, shared=128 * 16)


def test_loads():
    words = rng().integers(0, 2**32, (128, 4), dtype=np.uint32)
    both_equal("load_nc_16_values", words, words, grid=2, block=64)
    both_equal("load_cg_values", words, words.ravel()[:128], grid=2, block=64)
    both_equal("load_cg_16_values", words, words, grid=2, block=64)


def test_add_acq_rel():
    for name, got in run_both("add_acq_rel_counter", np.zeros(4, np.uint32), np.uint32, 1 + 256, grid=4, block=64):
        check(f"{name}: the sum", got[0] == sum(range(1, 257)), f"{got[0]}")
        # In the order of the old values, each thread saw the sum of those before it.
        order = np.argsort(got[1:], kind="stable")
        check_equal(f"{name}: every old value is a sum of earlier ones", got[1:][order], np.append(0, np.cumsum(order + 1)[:-1]).astype(np.uint32))


# ---- matrices ---------------------------------------------------------------------------------------

def test_ldmatrix():
    halves = rng().integers(0, 2**16, (32, 8), dtype=np.uint16)
    named = (np.arange(32) * 13 + 5) % 32  # the row that a lane's address names
    for count in (4, 2):
        for transposed in (False, True):
            matrices = halves[named[:8 * count]].reshape(count, 8, 8)
            if transposed:
                matrices = matrices.transpose(0, 2, 1)
            # Lane l gets elements 2 (l % 4) and the next one of row l / 4, in a register for each matrix.
            words = np.ascontiguousarray(matrices).view(np.uint32)
            expected = words.transpose(1, 2, 0).reshape(32 * count)
            both_equal(f"ldmatrix_x{count}_{'trans' if transposed else 'plain'}", halves, expected, shared=512)


def fragments(a, b):
    """Each lane's four words of a [16, 16] and two of b [16, 8], as the ISA lays them out for m16n8k16."""
    words = np.zeros((32, 6, 2), np.uint16)
    for lane in range(32):
        group, pair = lane // 4, lane % 4 * 2
        for j in range(4):
            words[lane, j] = a[group + 8 * (j & 1), 8 * (j >> 1) + pair:][:2]
        for j in range(2):
            words[lane, 4 + j] = b[8 * j + pair:, group][:2]
    return words.view(np.uint32).reshape(32, 6)


def accumulators(d):
    return np.stack([[d[lane // 4 + 8 * (i >> 1), lane % 4 * 2 + (i & 1)] for i in range(4)] for lane in range(32)])


def test_mma():
    for name, to_bits, to_values in (("f16", f16_bits, f16_values), ("bf16", bf16_bits, bf16_values)):
        kernel = f"mma_m16n8k16_{name}"
        generator = rng()
        for case in ("one product each", "small integers", "real numbers"):
            if case == "one product each":  # a permutation: exact, and every misplaced element shows
                a = np.eye(16)[generator.permutation(16)]
                b = np.arange(128).reshape(16, 8) - 60
            elif case == "small integers":  # exact in any order
                a, b = generator.integers(-8, 9, (16, 16)), generator.integers(-8, 9, (16, 8))
            else:
                a, b = generator.standard_normal((16, 16)), generator.standard_normal((16, 8))
            exact = case != "real numbers"
            d = generator.integers(-50, 51, (16, 8)) if exact else generator.standard_normal((16, 8))
            a, b, d = to_bits(a), to_bits(b), np.asarray(d, np.float32)
            expected = accumulators(to_values(a).astype(np.float64) @ to_values(b).astype(np.float64) + d).ravel()
            # Sums of 17 terms in any order, or cut off at f32's last place of the greatest (the truncating machine).
            size = accumulators(np.abs(to_values(a).astype(np.float64)) @ np.abs(to_values(b).astype(np.float64)) + np.abs(d)).ravel()
            for who, got in run_both(kernel, fragments(a, b), np.float32, 128, more=accumulators(d)):
                wrong = np.abs(got - expected) > (0 if exact else 17 * 2.0**-23) * size
                check(f"{who}, {case}", not wrong.any(), f"{wrong.sum()} of 128 are off, the first at {np.flatnonzero(wrong)[:1]}")


# ---- numbers ----------------------------------------------------------------------------------------

def floats():
    """Every kind of f32: ties of both types, the borders of their ranges, subnormals, infinities, and random bits."""
    halves = np.arange(65536, dtype=np.uint16)
    with np.errstate(all="ignore"):
        near = [f16_values(halves), bf16_values(halves)]
        near += [np.nextafter(values, np.float32(sign)) for values in list(near) for sign in (-np.inf, np.inf)]
        # Exactly between two neighbours, where ties go to even.
        near += [(values.view(np.uint32) + step).astype(np.uint32).view(np.float32) for values, step in ((near[0], 0x1000), (near[1], 0x8000))]
    random = rng().integers(0, 2**32, 65536, dtype=np.uint32).view(np.float32)
    return np.concatenate([*near, random]).astype(np.float32)


def blocks_of(count):
    return {"grid": (count + 255) // 256, "block": 256, "count": count}


def check_conversion(kernel, array, expected, nan):
    """Equal to the bit, but a NaN may be any NaN."""
    for name, got in run_both(kernel, array, expected.dtype, expected.size, **blocks_of(expected.size)):
        check(f"{name}: NaN where the value is NaN", np.array_equal(nan(got), nan(expected)))
        check_equal(name, np.where(nan(got), 0, got.view(f"u{got.dtype.itemsize}")), np.where(nan(expected), 0, expected.view(f"u{expected.dtype.itemsize}")))


nan_f16 = lambda bits: (bits & 0x7FFF) > 0x7C00
nan_bf16 = lambda bits: (bits & 0x7FFF) > 0x7F80


def test_widen():
    bits = np.arange(65536, dtype=np.uint16)
    check_conversion("widen_f16", bits, f16_values(bits), np.isnan)
    check_conversion("widen_bf16", bits, bf16_values(bits), np.isnan)


def test_narrow():
    values = floats()
    check_conversion("narrow_f16", values, f16_bits(values), nan_f16)
    check_conversion("narrow_bf16", values, bf16_bits(values), nan_bf16)
    pairs = values[: len(values) // 2 * 2].reshape(-1, 2)
    for kernel, to_bits, nan in (("narrow_pair_f16", f16_bits, nan_f16), ("narrow_pair_bf16", bf16_bits, nan_bf16)):
        expected = np.ascontiguousarray(to_bits(pairs)).view(np.uint32).ravel()
        for name, got in run_both(kernel, pairs, np.uint32, expected.size, **blocks_of(expected.size)):
            got, wanted = got.view(np.uint16), expected.view(np.uint16)
            check_equal(name, np.where(nan(got), 0x7FFF, got), np.where(nan(wanted), 0x7FFF, wanted))


def test_exp2_approx():
    values = np.concatenate([np.linspace(-160, 130, 50001), [0.0, -0.0, -np.inf, np.inf, np.nan, 1e-42, -1e-42]]).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.exp2(values.astype(np.float64))
    expected[(expected < 2.0**-126)] = 0
    expected[expected > np.finfo(np.float32).max] = np.inf
    for name, got in run_both("exp2_approx_values", values, np.float32, values.size, **blocks_of(values.size)):
        check(f"{name}: NaN of NaN only", np.array_equal(np.isnan(got), np.isnan(values)))
        real = ~np.isnan(values)
        # The least normal number may come as it or as 0: both are within one rounding of it.
        check_near(name, got[real], expected[real], 2.0**-126, 2.0**-22)
        check(f"{name}: 2^0 is 1, 2^-inf is 0", got[values == 0].tolist() == [1.0] * np.sum(values == 0) and got[np.isneginf(values)].tolist() == [0.0])
        check(f"{name}: no subnormal results", not np.any((got > 0) & (got < np.float32(2.0**-126))))


# ---- text -------------------------------------------------------------------------------------------

V, M = "volatile", "memory"  # may not be dropped or moved apart; orders other accesses for the compiler
FUNCTIONS = {  # function: (kernels of functions.cu that use it alone, what stands in their PTX, what stands in its source)
    "begin_kernel": ([], "", {V, M}),  # nothing before sm_90; there: test/cuda/static/kernels.slow.ts
    "shared_memory": (["shared_memory_address"], r"\.extern \.shared \.align 128 ", None),
    "shared_address": (["shared_memory_address"], r"", None),
    "cp_async_16": (["cp_async_16_bytes"], r"cp\.async\.cg\.shared\.global \[%r\d+\], \[%rd\d+\], 16, %r\d+;", {V, M}),
    "cp_async_4": (["cp_async_4_bytes"], r"cp\.async\.ca\.shared\.global \[%r\d+\], \[%rd\d+\], 4, %r\d+;", {V, M}),
    "cp_async_commit": (["cp_async_16_bytes"], r"cp\.async\.commit_group;", {V, M}),
    "cp_async_wait": (["cp_async_wait_for_all_but_one"], r"cp\.async\.wait_group 1;[\s\S]*cp\.async\.wait_group 0;", {V, M}),
    "ldmatrix_x4": (["ldmatrix_x4_plain"], r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16 \{%r\d+, %r\d+, %r\d+, %r\d+\}, \[%r\d+\];", {V, M}),
    "ldmatrix_x4_trans": (["ldmatrix_x4_trans"], r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans\.shared\.b16 \{", {V, M}),
    "ldmatrix_x2": (["ldmatrix_x2_plain"], r"ldmatrix\.sync\.aligned\.m8n8\.x2\.shared\.b16 \{%r\d+, %r\d+\}, \[%r\d+\];", {V, M}),
    "ldmatrix_x2_trans": (["ldmatrix_x2_trans"], r"ldmatrix\.sync\.aligned\.m8n8\.x2\.trans\.shared\.b16 \{", {V, M}),
    "mma_m16n8k16": (["mma_m16n8k16_f16", "mma_m16n8k16_bf16"], r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.b?f16\.b?f16\.f32 \{", {V}),
    "widen": (["widen_f16"], r"cvt\.f32\.f16 %f\d+, %rs\d+;", set()),
    "narrow": (["narrow_f16", "narrow_bf16"], r"cvt\.rn\.b?f16\.f32 %rs\d+, %f\d+;", set()),
    "narrow_pair": (["narrow_pair_f16", "narrow_pair_bf16"], r"cvt\.rn\.b?f16x2\.f32 %r\d+, %f\d+, %f\d+;", set()),
    "exp2_approx": (["exp2_approx_values"], r"ex2\.approx\.ftz\.f32 %f\d+, %f\d+;", set()),
    "load_nc_16": (["load_nc_16_values"], r"ld\.global\.nc\.L1::no_allocate\.v4\.u32 \{", {V}),
    "load_cg": (["load_cg_values"], r"ld\.global\.cg\.f32 %f\d+, \[%rd\d+\];", {V, M}),
    "load_cg_16": (["load_cg_16_values"], r"ld\.global\.cg\.v4\.f32 \{", {V, M}),
    "add_acq_rel": (["add_acq_rel_counter"], r"atom\.acq_rel\.gpu\.global\.add\.u32 %r\d+, \[%rd\d+\], %r\d+;", {V, M}),
}


def source_functions():
    """{name: the bodies of its overloads} of kernels/ptx.cuh."""
    text = open(os.path.join(common.KERNELS, "ptx.cuh")).read()
    found = {}
    for match in re.finditer(r"^__device__ __forceinline__ [\w:]+[ *&]+(\w+)\(", text, re.M):
        rest = text[match.start():]
        end = re.search(r"\n\}\n|\}\n(?=\n|//|__device__|template|struct|$)", rest)
        found.setdefault(match.group(1), []).append(rest[: end.end()])
    return found


def test_every_function_is_here():
    apart = sorted(set(source_functions()) ^ set(FUNCTIONS))
    check("the functions of ptx.cuh are those of this test", not apart, f"in one of them only: {', '.join(apart)}")


def test_instructions():
    text = open(ptx_of(SOURCE)).read()
    bodies = dict(re.findall(r"\.entry (\w+)\(([\s\S]*?)\n\}", text))
    sources = source_functions()
    for name, (kernels, pattern, flags) in FUNCTIONS.items():
        for kernel in kernels:
            where = text if pattern.startswith(r"\.extern") else bodies.get(kernel, "")
            check(f"{name}: {kernel} has {pattern}", kernel in bodies and re.search(pattern, where))
        for body in sources.get(name, []) if flags is not None else []:
            if not re.search(r"\basm\b", body):
                continue  # widen(BF16) is a shift
            got = {flag for flag, mark in ((V, r"asm volatile\("), (M, r': *"memory"')) if re.search(mark, body)}
            check(f"{name}: asm is {sorted(flags) or 'pure'}", got == flags, f"it is {sorted(got) or 'pure'}")
    # Type by type: a swap of f16 and bf16 would pass the patterns above.
    for kernel in ("mma_m16n8k16", "narrow", "narrow_pair"):
        check(f"{kernel}_f16 says f16 and {kernel}_bf16 bf16", "bf16" not in bodies[f"{kernel}_f16"].split("begin inline asm")[1].split("end inline")[0]
              and "bf16" in bodies[f"{kernel}_bf16"].split("begin inline asm")[1].split("end inline")[0])


common.main(globals())
