"""The attention kernels: against float64, and a row's bits the same from decode, from prefill and from any chunk. Page tails are NaN."""
import concurrent.futures, ctypes, os, subprocess, tempfile

import common
from common import check, np

DTYPES = {'f32': 0, 'f16': 1, 'bf16': 2}
EPS = {'f32': 2.0**-23, 'f16': 2.0**-10, 'bf16': 2.0**-7}
HEAD_DIMS = (64, 80, 96, 128, 256)
SPLIT_KEYS = 512
PARTIAL_EXTRA = 4


class StepView(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in ('token_ids', 'positions', 'row_segments', 'row_indptr', 'page_indptr',
                                               'page_indices', 'kv_lengths', 'counts')]
    _fields_ += [('rows', ctypes.c_int32), ('segments', ctypes.c_int32)]


class KvView(ctypes.Structure):
    _fields_ = [('keys', ctypes.c_void_p), ('values', ctypes.c_void_p), ('page_stride', ctypes.c_int64),
                ('head_stride', ctypes.c_int64), ('row', ctypes.c_int32), ('page_size', ctypes.c_int32),
                ('dtype', ctypes.c_uint8)]


class AttentionParams(ctypes.Structure):
    _fields_ = [('step', StepView), ('kv', KvView), ('qkv', ctypes.c_void_p), ('out', ctypes.c_void_p),
                ('qkv_cols', ctypes.c_int64), ('dtype', ctypes.c_uint8), ('heads', ctypes.c_int32),
                ('kv_heads', ctypes.c_int32), ('head_dim', ctypes.c_int32), ('scale', ctypes.c_float),
                ('window', ctypes.c_int32), ('soft_cap', ctypes.c_float), ('alibi_slopes', ctypes.c_void_p),
                ('tiles', ctypes.c_void_p), ('tile_count', ctypes.c_int32), ('max_kv_length', ctypes.c_int64),
                ('partials', ctypes.c_void_p), ('arrivals', ctypes.c_void_p)]


def rounded(x, dtype):
    """The numbers that dtype can hold, as float32."""
    return from_bytes(to_bytes(x, dtype), dtype).reshape(np.shape(x))


def to_bytes(x, dtype):
    return {'f32': lambda v: np.ascontiguousarray(v, np.float32), 'f16': common.f16_bits, 'bf16': common.bf16_bits}[dtype](x).tobytes()


def from_bytes(data, dtype):
    if dtype == 'f32':
        return np.frombuffer(data, np.float32)
    bits = np.frombuffer(data, np.uint16)
    return common.f16_values(bits) if dtype == 'f16' else common.bf16_values(bits)


def padded(head_dim):
    return next(d for d in HEAD_DIMS if head_dim <= d)


class Sequences:
    """Sequences with their queries, keys and values, in pages whose tails hold NaN."""

    def __init__(self, lengths, heads, kv_heads, head_dim, kv_dtype='f16', dtype=None, page_size=16, window=0,
                 soft_cap=0.0, alibi=False, seed=1, spread=1.0):
        rng = np.random.default_rng(seed)
        self.lengths, self.heads, self.kv_heads, self.head_dim = lengths, heads, kv_heads, head_dim
        self.kv_dtype, self.dtype, self.page_size = kv_dtype, dtype or kv_dtype, page_size
        self.window, self.soft_cap = window, soft_cap
        self.scale = float(np.float32(head_dim**-0.5))
        self.slopes = 2.0**-np.arange(1, heads + 1, dtype=np.float32) if alibi else None
        self.row = padded(head_dim)
        self.q = [rounded(rng.standard_normal((n, heads, head_dim)) * spread, self.dtype) for n in lengths]
        self.k = [rounded(rng.standard_normal((n, kv_heads, head_dim)) * spread, kv_dtype) for n in lengths]
        self.v = [rounded(rng.standard_normal((n, kv_heads, head_dim)), kv_dtype) for n in lengths]
        counts = [(n + page_size - 1) // page_size for n in lengths]
        self.pool = sum(counts) + 3
        order = rng.permutation(self.pool)
        self.pages, taken = [], 0
        for c in counts:
            self.pages.append(order[taken:taken + c])
            taken += c

    def cache(self, lengths):
        """[keys, values] as bytes: only the first lengths[s] tokens are there, all else is NaN."""
        both = []
        for source in (self.k, self.v):
            pool = np.full((self.pool, self.kv_heads, self.page_size, self.row), np.nan, np.float32)
            for s, n in enumerate(lengths):
                for p in range((n + self.page_size - 1) // self.page_size):
                    first = p * self.page_size
                    count = min(self.page_size, n - first)
                    page = pool[self.pages[s][p]]
                    page[:, :count, :] = 0
                    page[:, :count, :self.head_dim] = source[s][first:first + count].transpose(1, 0, 2)
            both.append(to_bytes(pool, self.kv_dtype))
        return both

    def reference(self, s, position):
        """[heads, head_dim] in float64, of the row at `position`."""
        group = self.heads // self.kv_heads
        first = max(0, position - self.window + 1) if self.window else 0
        keys = np.arange(first, position + 1)
        q = rounded(self.q[s][position], self.kv_dtype).astype(np.float64)
        k = np.repeat(self.k[s][keys].astype(np.float64), group, 1)
        v = np.repeat(self.v[s][keys].astype(np.float64), group, 1)
        scores = np.einsum('hd,khd->hk', q, k) * self.scale
        if self.soft_cap:
            scores = self.soft_cap * np.tanh(scores / self.soft_cap)
        if self.slopes is not None:
            scores = scores + self.slopes[:, None].astype(np.float64) * (keys - position)[None, :]
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        return np.einsum('hk,khd->hd', weights, v), np.einsum('hk,khd->hd', weights, np.abs(v))


def run(mod, sequences, ranges, grid=3, extra_segments=0, tile_rows=None, block=False, **launch):
    """Attention of rows [first, last) of every sequence. Returns a list of arrays [rows, heads * head_dim]."""
    q = sequences
    if tile_rows is None:
        tile_rows = 32 if q.kv_dtype == 'f32' and q.row == 256 else 64
    lengths = [last for _, last in ranges]
    rows = [last - first for first, last in ranges]
    segments = len(ranges) + extra_segments
    indptr = np.concatenate([[0], np.cumsum(rows), [sum(rows)] * extra_segments]).astype(np.int32)
    pages = [q.pages[s][:(n + q.page_size - 1) // q.page_size] for s, n in enumerate(lengths)]
    page_indptr = np.concatenate([[0], np.cumsum([len(p) for p in pages])]).astype(np.int32)
    page_indptr = np.concatenate([page_indptr, [page_indptr[-1]] * extra_segments]).astype(np.int32)
    qkv_cols = (q.heads + 2 * q.kv_heads) * q.head_dim
    qkv = np.full((max(sum(rows), 1), qkv_cols), np.nan, np.float32)
    at = 0
    for s, (first, last) in enumerate(ranges):
        qkv[at:at + last - first, :q.heads * q.head_dim] = q.q[s][first:last].reshape(last - first, -1)
        at += last - first
    tiles = [(s, r) for s, n in enumerate(rows) if n > 1 for r in range(0, n, tile_rows)]
    longest = max(lengths)
    splits = (longest + SPLIT_KEYS - 1) // SPLIT_KEYS
    group = q.heads // q.kv_heads
    units = q.kv_heads * ((group + 15) // 16)

    buffers = []

    def give(data):
        buffers.append(mod.alloc(data, readonly=True))
        return buffers[-1].ptr

    keys, values = q.cache(lengths)
    out = mod.alloc(sum(rows) * q.heads * q.head_dim * (4 if q.dtype == 'f32' else 2))
    arrivals = mod.alloc(np.zeros(segments * units, np.uint32).tobytes())
    partials = mod.alloc(max(16, segments * q.heads * splits * (q.row + PARTIAL_EXTRA) * 4))
    p = AttentionParams()
    p.step.row_indptr = give(indptr.tobytes())
    p.step.page_indptr = give(page_indptr.tobytes())
    p.step.page_indices = give(np.concatenate(pages).astype(np.int32).tobytes())
    p.step.kv_lengths = give(np.array(lengths + [0] * extra_segments, np.int32).tobytes())
    p.step.counts = give(np.array([sum(rows), len(ranges)], np.int32).tobytes())
    p.step.rows, p.step.segments = sum(rows), segments
    p.kv.keys, p.kv.values = give(keys), give(values)
    p.kv.head_stride, p.kv.page_stride = q.page_size * q.row, q.page_size * q.row * q.kv_heads
    p.kv.row, p.kv.page_size, p.kv.dtype = q.row, q.page_size, DTYPES[q.kv_dtype]
    p.qkv, p.out, p.qkv_cols, p.dtype = give(to_bytes(qkv, q.dtype)), out.ptr, qkv_cols, DTYPES[q.dtype]
    p.heads, p.kv_heads, p.head_dim, p.scale = q.heads, q.kv_heads, q.head_dim, q.scale
    p.window, p.soft_cap = q.window, q.soft_cap
    p.alibi_slopes = give(q.slopes.tobytes()) if q.slopes is not None else None
    p.tiles = give(np.array(tiles, np.int32).tobytes()) if tiles else None
    p.tile_count, p.max_kv_length = len(tiles), longest
    p.partials, p.arrivals = partials.ptr, arrivals.ptr

    sizes = shapes()[(q.kv_dtype, q.row)]
    if tiles:
        common.launch(mod, f'attention_prefill_{q.kv_dtype}_d{q.row}', grid, sizes[0], sizes[1], p, **launch)
    if any(n == 1 for n in rows):
        sizes = sizes[4:] if block else sizes[2:4]
        common.launch(mod, f'attention_decode_{"block_" if block else ""}{q.kv_dtype}_d{q.row}', grid, *sizes, p, **launch)
    check('counters of arrivals are zero again', not any(arrivals.get('u32')))
    result = from_bytes(out.read(), q.dtype).reshape(sum(rows), -1).copy()
    for b in buffers + [out, arrivals, partials]:
        b.free()
    return [result[indptr[s]:indptr[s + 1]] for s in range(len(ranges))]


SHAPES = """#include <cstdio>
#include "attention_shape.hpp"
using namespace splitwiser;
template <class Shape> void say(int bytes, int dim) {
  using Warp = DecodeShape<Shape, false>;
  std::printf("%d %d %d %d %d %d", bytes, dim, Shape::kPrefillThreads, Shape::kPrefillBytes, Warp::kThreads, Warp::kBytes);
  if constexpr (kHasBlockDecode<Shape>) std::printf(" %d %d", DecodeShape<Shape, true>::kThreads, DecodeShape<Shape, true>::kBytes);
  std::printf("\\n");
}
"""
_shapes = {}


def shapes():
    """(kv dtype, padded head dim) -> threads and shared bytes of prefill, of decode, of decode by blocks: from attention_shape.hpp itself."""
    if not _shapes:
        lines = ''.join(f'say<AttentionShape<{b}, {d}>>({b}, {d});\n' for b in (2, 4) for d in HEAD_DIMS)
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, 'shapes.cpp'), os.path.join(folder, 'shapes')
            with open(source, 'w', encoding='utf8') as file:
                file.write(SHAPES + f'int main() {{\n{lines}}}\n')
            subprocess.run(['g++', '-std=c++20', '-I', common.KERNELS, '-o', program, source], check=True)
            text = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            b, d, *sizes = map(int, line.split())
            for name in ('f16', 'bf16') if b == 2 else ('f32',):
                _shapes[(name, d)] = sizes
    return _shapes


def check_close(name, sequences, ranges, results):
    """The error as a part of the tolerance: absolute + eps of the narrower type * what the weights make of |v|."""
    q = sequences
    eps = max(EPS[q.kv_dtype], EPS[q.dtype])
    worst = 0.0
    for s, (first, last) in enumerate(ranges):
        for i in range(first, last):
            expected, size = q.reference(s, i)
            error = np.abs(results[s][i - first].reshape(q.heads, q.head_dim) - expected) / (4e-6 + 1.5 * eps * size)
            worst = max(worst, float(np.nan_to_num(error, nan=np.inf).max()))
    check(f'{name}: close to float64', worst <= 1, f'{worst:.2f} of the tolerance')
    return worst


def check_bits(name, a, b):
    wrong = int((a.view(np.uint32) != b.view(np.uint32)).sum())
    check(name, wrong == 0, f'{wrong} of {a.size} numbers differ')


def check_case(name, mod, spec, seed=None, **launch):
    """Whole prompts, their last rows by decode (with segments that are not real), and chunks of several sizes."""
    if seed is not None:
        launch['seed'] = seed
    q = Sequences(**spec)
    whole = [(0, n) for n in q.lengths]
    full = run(mod, q, whole, grid=2, **launch)
    worst = check_close(name, q, whole, full)
    single = run(mod, q, [(n - 1, n) for n in q.lengths], grid=3, extra_segments=2, **launch)
    for s, n in enumerate(q.lengths):
        check_bits(f'{name}: prefill and decode of {n} tokens', full[s][n - 1], single[s][0])
    if (q.kv_dtype, q.row) == ('f16', 64):
        blocks = run(mod, q, [(n - 1, n) for n in q.lengths], grid=2, block=True, **launch)
        for s, n in enumerate(q.lengths):
            check_bits(f'{name}: prefill and decode by blocks of {n} tokens', full[s][n - 1], blocks[s][0])
    for part in (2, 7):
        chunk = [(max(0, n - 1 - n // part), n) for n in q.lengths]
        results = run(mod, q, chunk, grid=1, **launch)
        for s, (first, n) in enumerate(chunk):
            check_bits(f'{name}: a chunk of {n - first} of {n} tokens', full[s][first:n].copy(), results[s].copy())
    return worst


def kernels_of(dtype, dims):
    names = [f'attention_{phase}_{dtype}_d{dim}' for dim in dims for phase in ('prefill', 'decode')]
    return common.load(f'attention_{dtype}.cu', names + (['attention_decode_block_f16_d64'] if dtype == 'f16' else []))


# One instance of each way that a kernel can be made: swizzled rows, two warps that share rows, padded rows, f32. The other
# head dims run on the simulated device (test/cuda/attention_test.cpp); translating them all takes minutes.
TRANSLATED = {'f16': (64, 256), 'bf16': (80,), 'f32': (64,)}


def test_the_kernels_translate():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # most of the time is spent in other processes
        for dtype, mod in zip(TRANSLATED, pool.map(lambda item: kernels_of(*item), TRANSLATED.items())):
            check(f'the kernels of {dtype}', mod is not None)


def test_every_way_to_make_a_kernel():
    for dtype, dims in TRANSLATED.items():
        mod = kernels_of(dtype, dims)
        for dim in dims:
            check_case(f'{dtype} d{dim} heads of their own', mod, dict(lengths=[3, 64, 70], heads=2, kv_heads=2, head_dim=dim, kv_dtype=dtype), seed=dim)
            check_case(f'{dtype} d{dim} groups', mod, dict(lengths=[1, 65, 17], heads=6, kv_heads=2, head_dim=dim, kv_dtype=dtype, page_size=64,
                                                           window=20), seed=dim + 1)


def test_lengths_at_the_edges_of_leaves_and_splits():
    mod = kernels_of('f16', TRANSLATED['f16'])
    for seed, length in enumerate((2, 15, 16, 63, 511, 512, 513, 1025)):
        check_case(f'{length} tokens', mod, dict(lengths=[length], heads=1, kv_heads=1, head_dim=64), seed=seed)


def test_windows_slopes_and_caps():
    mod = kernels_of('f16', TRANSLATED['f16'])
    for name, more in (('a window over splits', dict(window=600)), ('a short window', dict(window=5)), ('ALiBi', dict(alibi=True)),
                       ('a soft cap', dict(soft_cap=5.0, spread=2.0)), ('all of them', dict(window=70, alibi=True, soft_cap=3.0))):
        check_case(name, mod, dict(lengths=[700, 90], heads=2, kv_heads=1, head_dim=64, page_size=48, **more))


def test_groups_beyond_a_tile_odd_rows_and_other_types():
    mod = kernels_of('f16', TRANSLATED['f16'])
    check_case('a group of 71', mod, dict(lengths=[5, 70], heads=71, kv_heads=1, head_dim=64))
    check_case('odd head dim', mod, dict(lengths=[70, 4], heads=4, kv_heads=2, head_dim=37))
    check_case('f32 activations', mod, dict(lengths=[70, 4], heads=2, kv_heads=2, head_dim=56, dtype='f32'))
    check_case('bf16 activations', mod, dict(lengths=[33], heads=2, kv_heads=2, head_dim=64, dtype='bf16'))


if __name__ == '__main__':
    common.main(globals())
