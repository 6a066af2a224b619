"""The GEMM kernels: against float64, and the same bits whatever the kernel, its tile and the number of tokens."""
import copy, ctypes, math

import common
from common import check, check_equal, check_near, np

F32, F16, BF16 = 0, 1, 2
NAMES = ["f32", "f16", "bf16"]
NONE, RELU, GELU, GELU_TANH, SILU = range(5)


class GemmNorm(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("eps", ctypes.c_float), ("warps", ctypes.c_int32), ("place", ctypes.c_int32),
                ("rms", ctypes.c_bool)]


class NormParams(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_void_p) for name in ("x", "residual", "sum", "out", "weight", "bias", "real_rows")),
                ("rows", ctypes.c_int64), ("cols", ctypes.c_int64), ("eps", ctypes.c_float), ("rms", ctypes.c_bool), ("dtype", ctypes.c_uint8)]


class Params(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_void_p) for name in ("weight", "x", "out", "bias", "residual", "rows")),
                *((name, ctypes.c_int64) for name in ("m", "n", "k", "k_stride")),
                *((name, ctypes.c_uint8) for name in ("dtype", "out_dtype", "activation", "gated")),
                ("parts", ctypes.c_int32), ("stages", ctypes.c_int32), ("soft_cap", ctypes.c_float), ("norm", GemmNorm)]


# What is translated of the kernels of each type, one of each kind: narrow32 is narrow16 and narrow64 is middle with
# other numbers, and bf16 differs from f16 in the names of its instructions.
TRANSLATED = [["wide", "narrow8"], ["wide", "wide_parts", "middle", "narrow16", "narrow8"], ["narrow16"]]
NORMED = [["normed8"], ["normed16", "normed8"], ["normed16"]]  # narrow kernels that normalise their tokens
# kernel: (rows of its tile, tokens, threads, shared bytes); the narrow ones' rows and bytes depend on parts.
TILES = {"wide": (128, 128, 256, 67584), "wide_parts": (128, 128, 256, 67584), "middle": (64, 64, 128, 65536), "narrow64": (32, 64, 128, 73728),
         "narrow32": (0, 32, 256, 0), "narrow16": (0, 16, 256, 0), "narrow8": (0, 8, 256, 0)}
TILES_F32 = {"wide": (64, 64, 128, 65536), "narrow8": (0, 8, 256, 0)}
for tiles in (TILES, TILES_F32):
    tiles.update({name.replace("narrow", "normed"): tile for name, tile in tiles.items() if tile[0] == 0})


def parts_of(m, k):
    """gemm_parts."""
    parts = 1
    while parts < 8 and 2 * parts <= -(-k // 64) and -(-m // 128) * parts < 128:
        parts *= 2
    return parts


def warps_of_norm(cols):
    """norm_threads / 32."""
    return min(max(-(-cols // 256), 1), 8)


def to_bits(dtype, values):
    return [lambda v: np.asarray(v, dtype=np.float32), common.f16_bits, common.bf16_bits][dtype](values)


def to_values(dtype, bits):
    return [lambda v: v, common.f16_values, common.bf16_values][dtype](bits)


class Problem:
    """Random operands of one shape, in the layout of gemm.hpp, and the float64 sums."""

    def __init__(self, dtype, m, k, n, seed=0, gated=False, weight_scale=1.0):
        random = np.random.default_rng([seed, dtype, m, k])  # not n: token i is the same for every n
        self.dtype, self.m, self.k, self.n, self.gated = dtype, m, k, n, gated
        weight = to_bits(dtype, random.standard_normal((m, k)) * (weight_scale / math.sqrt(k)))
        self.x = to_bits(dtype, random.standard_normal((400, k)))[:n]
        self.bias = random.standard_normal(m).astype(np.float32)
        columns = m // 2 if gated else m
        self.residual = random.standard_normal((400, columns))[:n]
        self.columns = columns
        self.norm = random.standard_normal((2, k)).astype(np.float32)
        self.k_stride = -(-k // 64) * 64
        self.packed = np.zeros((-(-m // 128) * 128, self.k_stride), dtype=weight.dtype)
        self.packed[:m, :k] = weight
        self.sums = to_values(dtype, self.x).astype(np.float64) @ to_values(dtype, weight).astype(np.float64).T
        self.magnitude = np.abs(to_values(dtype, self.x)).astype(np.float64) @ np.abs(to_values(dtype, weight)).astype(np.float64).T

    def expected(self, bias=False, activation=NONE, residual=None, soft_cap=0.0):
        sums = self.sums + (self.bias if bias else 0)
        act = [lambda v: v, lambda v: np.maximum(v, 0), lambda v: 0.5 * v * (1 + np.vectorize(math.erf)(v / math.sqrt(2))),
               lambda v: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))), lambda v: v / (1 + np.exp(-v))][activation]
        if self.gated:
            blocks = sums.reshape(len(sums), -1, 2, 8)
            sums = (act(blocks[:, :, 0]) * blocks[:, :, 1]).reshape(len(sums), -1)
        else:
            sums = act(sums)
        if soft_cap > 0:
            sums = soft_cap * np.tanh(sums / soft_cap)
        return sums if residual is None else sums + residual

    def run(self, kernel, parts=None, stages=2, bias=False, activation=NONE, residual=None, out_dtype=None, rows=None, alias=False, grid=None, rms=False, soft_cap=0.0, **options):
        """Bits of out [n, columns]. residual: bits; alias: out holds them before, and is the residual."""
        out_dtype = self.dtype if out_dtype is None else out_dtype
        parts = parts_of(self.m, self.k) if parts is None else parts
        block_m, block_n, threads, shared = (TILES_F32 if self.dtype == F32 else TILES)[kernel]
        if block_m == 0:
            block_m, normed = 128 // parts, kernel.startswith("normed")
            place = shared = max(stages * (128 + (0 if normed else parts * block_n)) * 128, parts * block_n * (block_m + 4) * 4)
            if normed:
                shared += block_n * (self.k_stride * self.x.itemsize + 8)
        tiles = -(-self.m // block_m) * -(-self.n // block_n)
        name = f"gemm_{kernel}_{NAMES[self.dtype]}"
        module = common.load(f"gemm_{NAMES[self.dtype]}.cu", [f"gemm_{one}_{NAMES[self.dtype]}" for one in TRANSLATED[self.dtype] + NORMED[self.dtype]])
        bits_of_out = to_bits(out_dtype, np.zeros(1)).dtype
        size = self.n * self.columns * bits_of_out.itemsize
        weight, x = common.upload(self.packed, True), common.upload(self.x, True)
        buffers = [weight, x]
        out = common.upload(residual) if alias else module.alloc(size)
        buffers.append(out)

        def pointer(array):
            if array is None:
                return None
            buffers.append(common.upload(array, True))
            return buffers[-1].ptr

        params = Params(weight.ptr, x.ptr, out.ptr, pointer(self.bias if bias else None), out.ptr if alias else pointer(residual),
                        pointer(None if rows is None else np.array([rows], dtype=np.int32)),
                        self.m, self.n, self.k, self.k_stride, self.dtype, out_dtype, activation, self.gated, parts, stages, soft_cap)
        if kernel.startswith("normed"):
            params.norm = GemmNorm(pointer(self.norm[0]), pointer(None if rms else self.norm[1]), 1e-5, warps_of_norm(self.k), place, rms)
        common.launch(module, name, grid or tiles, threads, shared, params, **options)
        got = common.download(out, bits_of_out, (self.n, self.columns))
        for buffer in buffers:
            buffer.free()
        return got

    def normalized(self, rms):
        """The same problem with the tokens that the norm kernel makes of these."""
        name = f"norm_{NAMES[self.dtype]}"
        module = common.load("rows.cu", [f"norm_{one}" for one in NAMES])
        x, weight, bias = common.upload(self.x, True), common.upload(self.norm[0], True), common.upload(self.norm[1], True)
        out = module.alloc(self.x.nbytes)
        params = NormParams(x.ptr, None, None, out.ptr, weight.ptr, None if rms else bias.ptr, None, self.n, self.k, 1e-5, rms, self.dtype)
        common.launch(module, name, 2, 32 * warps_of_norm(self.k), 256, params)
        other = copy.copy(self)
        other.x = common.download(out, self.x.dtype, self.x.shape)
        for buffer in (x, weight, bias, out):
            buffer.free()
        return other

    def check_sums(self, name, got):
        """f32 sums: each within what k roundings of products and sums may do."""
        check_near(name, got / self.magnitude, self.sums / self.magnitude, 2.0 ** -20)


# Odd rows, k that ends inside a step or inside a part, one tile and several.
SHAPES = [(397, 144, 33), (128, 128, 1), (400, 768, 9), (768, 256, 70)]


def test_every_kernel_sums_as_float64_and_all_agree_to_the_bit():
    for dtype in (F16, F32, BF16):
        for m, k, n in SHAPES:
            problem, first = Problem(dtype, m, k, n), None
            for kernel in TRANSLATED[dtype]:
                parts = 1 if kernel == "wide" and dtype != F32 else parts_of(m, k)
                name = f"{NAMES[dtype]} {kernel} m {m} k {k} n {n}"
                got = problem.run(kernel, parts=parts, out_dtype=F32)
                problem.check_sums(name, got)
                if parts == 1 and kernel == "wide" and dtype != F32:
                    check_equal(f"{name}: one part", got, problem.run("middle", parts=1, out_dtype=F32))
                    continue
                first = got if first is None else first
                check_equal(f"{name}: bits of the first kernel", got, first)


def test_an_element_does_not_depend_on_the_number_of_tokens():
    whole = Problem(F16, 200, 320, 130)
    expected = whole.run("wide_parts")
    for n in (1, 2, 7, 8, 9, 16, 33, 64, 65, 128):
        kernel = "narrow8" if n <= 8 else "narrow16" if n <= 16 else "middle" if n <= 64 else "wide_parts"
        check_equal(f"{kernel} n {n}", Problem(F16, 200, 320, n).run(kernel), expected[:n])


def test_stages_grids_and_schedules_change_nothing():
    problem = Problem(F16, 300, 576, 20)
    expected = problem.run("narrow16")
    for stages in (1, 3, 4):
        check_equal(f"{stages} stages", problem.run("narrow16", stages=stages), expected)
    for kernel in ("wide_parts", "middle", "narrow16", "narrow8"):
        for seed in range(4):
            check_equal(f"{kernel}, seed {seed}", problem.run(kernel, grid=1 + seed, seed=seed), expected)


def test_tokens_that_the_kernel_normalises():
    for dtype in (F16, F32, BF16):
        for m, k, n in ((144, 72, 5), (400, 768, 8), (80, 2048, 3)):
            if dtype == F32 and k > 768:
                continue
            problem = Problem(dtype, m, k, n)
            for rms in (False, True):
                for kernel in NORMED[dtype]:
                    expected = problem.normalized(rms).run(kernel.replace("normed", "narrow"), bias=True)
                    for grid in (1, None):
                        check_equal(f"{NAMES[dtype]} {kernel} m {m} k {k} n {n}, rms {rms}, grid {grid}",
                                    problem.run(kernel, bias=True, rms=rms, grid=grid), expected)


def test_every_epilogue():
    for dtype in (F16, F32, BF16):
        eps = [2.0 ** -24, 2.0 ** -11, 2.0 ** -8][dtype]
        for m in (128, 141):
            problem = Problem(dtype, m, 128, 10)
            for kernel in ("narrow8", "wide") if dtype == F32 else [k for k in ("narrow16", "middle") if k in TRANSLATED[dtype]]:
                for out_dtype in sorted({dtype, F32}):
                    residual = to_bits(out_dtype, problem.residual)
                    got = problem.run(kernel, bias=True, out_dtype=out_dtype, soft_cap=0.75)
                    check_near(f"{NAMES[dtype]} {kernel} m {m} to {NAMES[out_dtype]}, soft cap", to_values(out_dtype, got),
                               problem.expected(True, soft_cap=0.75), 4e-6, eps if out_dtype == dtype else 2.0 ** -22)
                    for activation in (NONE, RELU, GELU, GELU_TANH, SILU):
                        for bias, added, alias in ((True, None, False), (False, residual, False), (True, residual, True)):
                            got = problem.run(kernel, bias=bias, activation=activation, residual=added, alias=alias, out_dtype=out_dtype)
                            expected = problem.expected(bias, activation, None if added is None else to_values(out_dtype, added))
                            check_near(f"{NAMES[dtype]} {kernel} m {m} to {NAMES[out_dtype]}, activation {activation}, bias {bias}, alias {alias}",
                                       to_values(out_dtype, got), expected, 4e-6, eps if out_dtype == dtype else 2.0 ** -22)


def test_gate_and_up():
    for dtype, kernels in ((F16, ("narrow8", "narrow16", "wide_parts")), (F32, ("narrow8", "wide"))):
        problem = Problem(dtype, 416, 192, 11, gated=True)
        residual, results = to_bits(dtype, problem.residual), []
        for kernel in kernels:
            results.append(problem.run(kernel, bias=True, activation=GELU, residual=residual))
            check_near(f"{NAMES[dtype]} {kernel}", to_values(dtype, results[-1]), problem.expected(True, GELU, to_values(dtype, residual)),
                       1e-5, 2.0 ** -10 if dtype == F16 else 1e-6)
            check_equal(f"{NAMES[dtype]} {kernel}: bits", results[-1], results[0])


def test_the_devices_count_of_rows_bounds_the_hosts():
    problem = Problem(F16, 136, 128, 40)
    expected = problem.run("middle")
    for kernel in ("middle", "narrow16", "wide_parts"):
        for rows in (0, 1, 17, 40, 99):
            got, real = problem.run(kernel, rows=rows), min(rows, 40)
            check_equal(f"{kernel}, {rows} rows", got[:real], expected[:real])
            check(f"{kernel}, {rows} rows: the rest is not written", np.isnan(common.f16_values(got[real:])).all())


def test_nan_in_one_token_stays_there():
    problem = Problem(F16, 136, 192, 12)
    expected = problem.run("middle")
    problem.x = problem.x.copy()
    problem.x[5] = common.f16_bits(np.full(192, np.nan))
    for kernel in ("narrow8", "narrow16", "wide_parts"):
        got = problem.run(kernel)
        others = np.arange(12) != 5
        check_equal(f"{kernel}: other tokens", got[others], expected[others])
        check(f"{kernel}: its own", np.isnan(common.f16_values(got[5])).all())


common.main(globals())
