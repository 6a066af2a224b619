"""The row, page and step kernels as the PTX that nvcc makes, against numpy in f64."""
import struct

import numpy as np

import common
from common import check_equal, check_near, load, upload

TYPES = ("f32", "f16", "bf16")
EPSILON = {"f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}
rng = np.random.default_rng(1)


def to_bits(x, dtype):
    x = np.asarray(x, np.float32)
    return x.view(np.uint32) if dtype == "f32" else common.f16_bits(x) if dtype == "f16" else common.bf16_bits(x)


def from_bits(data, dtype):
    if dtype == "f32":
        return np.frombuffer(data, np.float32)
    bits = np.frombuffer(data, np.uint16)
    return common.f16_values(bits) if dtype == "f16" else common.bf16_values(bits)


def numbers(shape, dtype, scale=1.0):
    """Random numbers that the type holds exactly."""
    x = (rng.standard_normal(shape) * scale).astype(np.float32)
    return from_bits(to_bits(x, dtype).tobytes(), dtype).reshape(shape)


def expect(name, got, want, dtype, absolute=1e-6):
    check_near(name, got, want, absolute, EPSILON[dtype])


def launch(name, params, grid, block, **options):
    options.setdefault("race", False)
    file = "rows_kv_write.cu" if name.startswith("kv_write") else "pages.cu" if name == "copy_pages" else "step.cu" if name.startswith("step") else "rows.cu"
    shared_bytes = 256 if name.startswith("norm") else 0
    common.launch(load(file), name, grid, block, shared_bytes, params, **options)


class Step:
    """StepView with `extra` rows that are not real."""

    def __init__(self, lengths, news, page_size, extra=2, vocab=50):
        self.segments, self.real = len(lengths), sum(news)
        positions, row_segments, row_indptr, page_indptr, pages = [], [], [0], [0], []
        for s, (length, new) in enumerate(zip(lengths, news)):
            positions += range(length - new, length)
            row_segments += [s] * new
            row_indptr.append(row_indptr[-1] + new)
            page_indptr.append(page_indptr[-1] + (length + page_size - 1) // page_size + s % 2)
        self.pages = page_indptr[-1] + 3
        self.page_indices = rng.permutation(self.pages)[:page_indptr[-1]].astype(np.int32)
        self.positions, self.row_segments = np.array(positions, np.int32), np.array(row_segments, np.int32)
        self.page_indptr = np.array(page_indptr, np.int32)
        self.token_ids = rng.integers(0, vocab, self.real).astype(np.int32)
        pad = np.full(extra, 1 << 30, np.int32)  # would be far out of bounds
        arrays = [np.concatenate([self.token_ids, pad]), np.concatenate([self.positions, pad]),
                  np.concatenate([self.row_segments, pad]), np.array(row_indptr, np.int32), self.page_indptr,
                  self.page_indices, np.array(lengths, np.int32), np.array([self.real, self.segments], np.int32)]
        self.buffers = [common.ptxrun.alloc(a.astype(np.int32).tobytes(), readonly=True) for a in arrays]
        self.bound = self.real + extra
        self.packed = struct.pack('<8Qii', *[b.ptr for b in self.buffers], self.bound, self.segments)


def test_embed():
    for dtype in TYPES:
        for cols, stride, with_tokens, with_positions in ((144, 144, 1, 1), (768, 776, 1, 0), (13, 16, 1, 1), (64, 64, 0, 1)):
            step = Step([9, 3, 40], [4, 1, 7], 16)
            tokens, positions = numbers((50, stride), dtype), numbers((60, stride), dtype)
            given = numbers((step.bound, cols), dtype)
            out = common.ptxrun.alloc(to_bits(given, dtype).tobytes())
            t, p = (common.ptxrun.alloc(to_bits(x, dtype).tobytes(), readonly=True) for x in (tokens, positions))
            params = step.packed + struct.pack('<QQQqqqiB3x', t.ptr if with_tokens else 0, p.ptr if with_positions else 0,
                                               out.ptr, stride, stride, cols, 2, TYPES.index(dtype))
            launch('embed_' + dtype, params, 3, 64)
            want = given.astype(np.float64).copy()
            n = step.real
            want[:n] = tokens[step.token_ids, :cols] if with_tokens else given[:n]
            if with_positions:
                want[:n] += positions[step.positions + 2, :cols]
            expect(f'embed {dtype} {cols}', from_bits(out.read(), dtype).reshape(want.shape), want, dtype)


def test_norm():
    cases = ((1, 144, 0, 0, 0), (5, 768, 1, 1, 0), (3, 13, 1, 0, 0), (4, 2048, 0, 1, 1), (2, 4096, 1, 1, 1), (3, 257, 1, 1, 1),
             (2, 20000, 1, 1, 0), (2, 17001, 1, 0, 1))
    for dtype in TYPES:
        for rows, cols, with_residual, with_sum, rms in cases:
            bound = rows + 1
            x, residual = numbers((bound, cols), dtype) + np.float32(0.5), numbers((bound, cols), dtype)
            x = from_bits(to_bits(x, dtype).tobytes(), dtype).reshape(x.shape)
            weight, bias = (rng.standard_normal(cols).astype(np.float32) for _ in range(2))
            threads = min(256, max(32, ((cols + 7) // 8 + 31) // 32 * 32))
            results = []
            for alias in (0, 1):  # out over x, the sum over the residual
                bx, br = common.ptxrun.alloc(to_bits(x, dtype).tobytes()), common.ptxrun.alloc(to_bits(residual, dtype).tobytes())
                bw, bb = common.ptxrun.alloc(weight.tobytes(), readonly=True), common.ptxrun.alloc(bias.tobytes(), readonly=True)
                out = bx if alias else common.ptxrun.alloc(to_bits(x, dtype).tobytes())
                total = br if alias else common.ptxrun.alloc(to_bits(residual, dtype).tobytes())
                real = common.ptxrun.alloc(struct.pack('<i', rows))
                params = struct.pack('<7QqqfBB2x', bx.ptr, br.ptr if with_residual else 0,
                                     total.ptr if with_sum and with_residual else 0, out.ptr, bw.ptr, 0 if rms else bb.ptr,
                                     real.ptr, bound, cols, 1e-5, rms, TYPES.index(dtype))
                launch('norm_' + dtype, params, 2 if alias else bound, threads, race=alias == 1, seed=alias or None)
                results.append((from_bits(out.read(), dtype).reshape(x.shape), from_bits(total.read(), dtype).reshape(x.shape)))
            y = x.astype(np.float32) + residual if with_residual else x
            y = from_bits(to_bits(y, dtype).tobytes(), dtype).reshape(x.shape)
            z = y.astype(np.float64)
            mean = 0 if rms else z.mean(1, keepdims=True)
            scale = 1 / np.sqrt(((z - mean)**2).mean(1, keepdims=True) + 1e-5)
            want = (z - mean) * scale * weight + (0 if rms else bias)
            want[rows:] = x[rows:]
            name = f'norm {dtype} {rows}x{cols} rms={rms}'
            expect(name, results[0][0], want, dtype, absolute=4e-6)
            check_equal(name + ' in place', results[1][0][:rows], results[0][0][:rows])
            if with_sum and with_residual:
                check_equal(name + ' sum', results[0][1][:rows], y[:rows])


def test_gather():
    for dtype, kernel in (('f32', 'gather_32'), ('f16', 'gather_16')):
        for cols in (8, 144, 13, 1000):
            x, rows = numbers((9, cols), dtype), rng.integers(0, 9, 6).astype(np.int32)
            b, r = common.ptxrun.alloc(to_bits(x, dtype).tobytes(), readonly=True), common.ptxrun.alloc(rows.tobytes(), readonly=True)
            out = common.ptxrun.alloc(6 * cols * (4 if dtype == 'f32' else 2))
            launch(kernel, struct.pack('<QQQQqqB7x', b.ptr, r.ptr, out.ptr, 0, 6, cols, TYPES.index(dtype)), 2, 64)
            check_equal(f'gather {dtype} {cols}', from_bits(out.read(), dtype).reshape(6, cols), x[rows])


def rotate(x, positions, frequencies, dims, form):
    """x [rows, heads, dim] in f64; the angle is rounded to f32 first, as the reference implementations do."""
    angle = (positions.astype(np.float32)[:, None] * frequencies[None, :]).astype(np.float32).astype(np.float64)[:, None, :]
    x = x.astype(np.float64).copy()
    a, b = (x[..., :dims // 2], x[..., dims // 2:dims]) if form == 1 else (x[..., 0:dims:2], x[..., 1:dims:2])
    a, b = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    if form == 1:
        x[..., :dims // 2], x[..., dims // 2:dims] = a, b
    else:
        x[..., 0:dims:2], x[..., 1:dims:2] = a, b
    return x


def test_kv_write():
    cases = (('f32', 'f32', 2, 2, 64, 64, 0, 0), ('f16', 'f16', 8, 2, 128, 128, 1, 128), ('bf16', 'bf16', 3, 1, 80, 80, 1, 20),
             ('f16', 'f16', 4, 4, 64, 64, 2, 32), ('f32', 'f16', 2, 2, 18, 64, 0, 0), ('f16', 'f32', 2, 1, 18, 64, 2, 18),
             ('bf16', 'f16', 2, 1, 20, 64, 1, 10), ('f32', 'bf16', 1, 1, 256, 256, 2, 64), ('f16', 'bf16', 71, 1, 64, 64, 1, 64),
             ('bf16', 'f32', 6, 3, 100, 128, 1, 100))
    for dtype, cached, heads, kv_heads, dim, padded, form, dims in cases:
        for page_size in (16, 64):
            step = Step([20, 70, 1], [20, 5, 1], page_size)
            step_far = step.positions.copy()
            cols = (heads + 2 * kv_heads) * dim
            qkv = numbers((step.bound, cols), dtype)
            item = 4 if cached == 'f32' else 2
            head_stride, page_stride = page_size * padded, 2 * kv_heads * page_size * padded
            pool = common.ptxrun.alloc(b'\xff' * (step.pages * page_stride * item))
            frequencies = (10000.0**(-np.arange(0, max(dims, 2), 2) / max(dims, 2))).astype(np.float32)
            bq, bf = common.ptxrun.alloc(to_bits(qkv, dtype).tobytes()), common.ptxrun.alloc(frequencies.tobytes(), readonly=True)
            values_at = kv_heads * head_stride * item
            kv = struct.pack('<QQqqiiB7x', pool.ptr, pool.ptr + values_at, page_stride, head_stride, padded, page_size,
                             TYPES.index(cached))
            params = step.packed + kv + struct.pack('<QqB3xiiiB3xiQ', bq.ptr, cols, TYPES.index(dtype), heads, kv_heads, dim,
                                                    form, dims, bf.ptr)
            assert len(params) == len(step.packed) + 48 + 48, len(params)
            launch(f'kv_write_{dtype}_{cached}', params, 3, 64, seed=page_size)
            n = step.real
            split = qkv.reshape(step.bound, -1, dim)
            turned = split.astype(np.float64).copy()
            if form:
                turned[:n, :heads + kv_heads] = rotate(split[:n, :heads + kv_heads], step_far, frequencies, dims, form)
            name = f'kv_write {dtype} to {cached}, dim {dim} in {padded}, form {form} {dims}, pages of {page_size}'
            got_q = from_bits(bq.read(), dtype).reshape(step.bound, -1, dim)
            expect(name + ': q', got_q[:n, :heads], turned[:n, :heads], dtype, absolute=2e-6)
            check_equal(name + ': the rest of qkv', got_q[:, heads:], split[:, heads:])
            check_equal(name + ': rows that are not real', got_q[n:], split[n:])
            raw = from_bits(pool.read(), cached).reshape(step.pages, 2 * kv_heads, page_size, padded)
            touched = np.zeros(raw.shape[:3], bool)
            for r in range(n):
                s, position = step.row_segments[r], step.positions[r]
                page = step.page_indices[step.page_indptr[s] + position // page_size]
                touched[page, :, position % page_size] = True
                for h in range(2 * kv_heads):
                    row = raw[page, h, position % page_size]
                    want = np.concatenate([turned[r, heads + h], np.zeros(padded - dim)])
                    expect(name + ': cache', row, want, cached, absolute=2e-6)
            untouched = np.frombuffer(pool.read(), np.uint8).reshape(step.pages, 2 * kv_heads, page_size, -1)[~touched]
            check_equal(name + ': the rest of the pool', untouched, np.full_like(untouched, 255))


def test_rotary_far():
    """Angles up to 2^20 radians."""
    positions = np.array([1, 100000, 131071, 1048575, 777777], np.int32)
    page_size, pages = 64, 1 << 14
    arrays = [np.zeros(5), positions, np.zeros(5), [0, 5], [0, pages], np.arange(pages) % 2, [1 << 20], [5, 1]]
    buffers = [common.ptxrun.alloc(np.asarray(a, np.int32).tobytes(), readonly=True) for a in arrays]
    step = struct.pack('<8Qii', *[b.ptr for b in buffers], 5, 1)
    frequencies = (10000.0**(-np.arange(0, 64, 2) / 64)).astype(np.float32)
    q = numbers((5, 64 * 3), 'f32')
    bq, bf, pool = common.ptxrun.alloc(q.tobytes()), common.ptxrun.alloc(frequencies.tobytes()), common.ptxrun.alloc(2 * 2 * 64 * 64 * 4)
    params = step + struct.pack('<QQqqiiB7x', pool.ptr, pool.ptr + 64 * 64 * 4, 2 * 64 * 64, 64 * 64, 64, page_size, 0)
    params += struct.pack('<QqB3xiiiB3xiQ', bq.ptr, 192, 0, 1, 1, 64, 1, 64, bf.ptr)
    launch('kv_write_f32_f32', params, 2, 64)
    want = rotate(q.reshape(5, 3, 64)[:, :1], positions, frequencies, 64, 1)
    expect('rotary far away', from_bits(bq.read(), 'f32').reshape(5, 3, 64)[:, :1], want, 'f32', absolute=1.2e-6)


def test_pages():
    layers, pages, heads, page_size, row = 3, 7, 4, 16, 160
    head, page = page_size * row, heads * page_size * row
    data = rng.integers(0, 256, layers * pages * page, dtype=np.uint8)
    pool = common.ptxrun.alloc(data.tobytes())
    items = [(0, 3, 16), (1, 4, 1), (2, 6, 9)]
    b = common.ptxrun.alloc(b''.join(struct.pack('<iii', *i) for i in items), readonly=True)
    place = struct.pack('<Qqqq', pool.ptr, pages * page, page, head)
    launch('copy_pages', place + place + struct.pack('<Qqiii4x', b.ptr, row, 3, layers, heads), 5, 32)
    want = data.reshape(layers, pages, heads, page_size, row).copy()
    for source, to, tokens in items:
        want[:, to, :, :tokens] = want[:, source, :, :tokens]
    check_equal('pages', np.frombuffer(pool.read(), np.uint8).reshape(want.shape), want)


def test_step():
    counts = common.ptxrun.alloc(struct.pack('<ii', 5, 5))
    ints = lambda values: common.ptxrun.alloc(np.asarray(values, np.int32).tobytes())  # noqa: E731
    row_ended = -2**31
    staged, drawn, ids = ints([4, -1, row_ended, -4, -5, 9, 9]), ints([10, 11, 12, row_ended, 14]), ints([0] * 7)
    own, kv_lengths, ended = ints([2, 3, 4, 5, 6, 7, 8]), ints([0] * 7), ints([9] * 7)
    arrays = [staged, drawn, own, ids, kv_lengths, ended, counts]
    launch('step_feed', struct.pack('<7Qi4x', *[a.ptr for a in arrays], 7), 1, 32)
    check_equal('step_feed', list(ids.get('i32')) + list(kv_lengths.get('i32')) + list(ended.get('i32')),
                [4, 10, 0, 0, 14, 0, 0, 2, 3, 1, 1, 6, 0, 0, 0, 0, 1, 1, 0, 9, 9])
    positions, lengths, slots = ints([1, 2, 3, 4, 5, 6, 7]), ints([2, 3, 4, 5, 6, 7, 8]), ints([3] * 7 * 24)
    params = struct.pack('<6Qi4x', drawn.ptr, ids.ptr, positions.ptr, lengths.ptr, slots.ptr, counts.ptr, 7)
    launch('step_advance', params, 2, 32)
    check_equal('step_advance', list(ids.get('i32')) + list(positions.get('i32')) + list(lengths.get('i32')),
                 [10, 11, 12, row_ended, 14, 0, 0, 2, 3, 4, 5, 6, 6, 7, 3, 4, 5, 6, 7, 7, 8])
    slot = np.array(slots.get('i32')).reshape(7, 24)
    want = np.full((7, 24), 3)
    want[:5, 13] = 4
    check_equal('step_advance slots', slot, want)


def test_patch():
    array = np.arange(4 * 300, dtype=np.int32).reshape(300, 4)
    pieces = np.array(range(299, 0, -2), dtype=np.int32)
    values = -np.arange(4 * len(pieces), dtype=np.int32).reshape(-1, 4)
    to, new, ids = (common.ptxrun.alloc(a.tobytes()) for a in (array, values, pieces))
    launch('step_patch', struct.pack('<3Qi4x', to.ptr, new.ptr, ids.ptr, len(pieces)), 1, 128)
    array[pieces] = values
    check_equal('step_patch', to.get('i32'), array.reshape(-1).tolist())


common.main(globals())
