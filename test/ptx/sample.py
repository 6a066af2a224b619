"""The sampling kernels as the PTX that nvcc makes, against the host's sampling: the same tokens from the same bits."""
import ctypes
import os
import struct
import subprocess

import numpy as np

import common
from common import check, load

MOST_TOP = 64
PARAMS = struct.Struct('<12Q q i 4x')                       # SampleParams
OUTPUT = struct.Struct('<ifi')                             # SampleOutput
ROW_ENDED = -2**31
INF = float('inf')


def compile_host():
    out = os.path.join(common.CACHE, f"sampling-{os.getpid()}.so")
    os.makedirs(common.CACHE, exist_ok=True)
    try:
        subprocess.run(["g++", "-std=c++20", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-I", common.KERNELS,
                        os.path.join(common.HERE, "sampling.cpp"), "-o", out], check=True)
        return ctypes.CDLL(out)
    finally:
        if os.path.exists(out):
            os.remove(out)


class Row:
    """One slot: options, entries and where its logits are."""

    def __init__(self, logits, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, repetition=1.0, presence=0.0, frequency=0.0,
                 counts=(), bias=(), endings=(), forbids=False, seed=0, choice=0, position=0, top=-1, target=None):
        self.logits = np.asarray(logits, dtype=np.float32)
        self.options = struct.pack('<fi d ffff', temperature, top_k, top_p, min_p, repetition, presence, frequency)
        self.counts, self.bias, self.endings, self.forbids = list(counts), list(bias), list(endings), forbids
        self.seed, self.choice, self.position, self.top, self.target = seed, choice, position, top, target


def packed_entries(row):
    return (b''.join(struct.pack('<iii', *c) for c in row.counts), b''.join(struct.pack('<if', *b) for b in row.bias),
            b''.join(struct.pack('<i', f) for f in row.endings))


def host_token(host, row):
    logits = row.logits.copy()
    counts, bias, endings = packed_entries(row)
    return host.host_sample(logits.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(logits)), row.options, counts,
                            ctypes.c_int64(len(row.counts)), bias, ctypes.c_int64(len(row.bias)), endings,
                            ctypes.c_int64(len(row.endings) if row.forbids else 0), ctypes.c_uint64(row.seed), ctypes.c_uint32(row.choice),
                            ctypes.c_uint32(row.position))


def host_logprobs(host, row, token):
    out = (ctypes.c_byte * (8 * max(1, row.top)))()
    logprob = ctypes.c_float()
    n = host.host_logprobs(row.logits.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(row.logits)), row.top, token, out,
                           ctypes.byref(logprob))
    return [struct.unpack_from('<if', out, 8 * i) for i in range(n)], logprob.value


def run(rows, grid, block, real=None, scan=False, ended=None, **options):
    """Launches logprobs, adjust_logits, with `scan` scan_logits and bin_logits, and sample. Returns tokens, outputs, top entries."""
    vocab, count = len(rows[0].logits), len(rows)
    order = np.random.default_rng(count).permutation(count)  # slots and rows of logits are in different orders
    logits = np.empty((count, vocab), np.float32)
    slots, counts, bias, endings = b'', b'', b'', b''
    totals = [0, 0, 0]
    for i, row in enumerate(rows):
        logits[order[i]] = row.logits
        ends = [totals[0] + len(row.counts), totals[1] + len(row.bias), totals[2] + len(row.endings)]
        slots += row.options + SLOT_REST.pack(row.seed, int(order[i]), row.choice, row.position,
                                              -1 if row.target is None else row.target, row.top, row.target is None,
                                              totals[0], ends[0], totals[1], ends[1], totals[2], ends[2], row.forbids)
        totals = ends
        c, b, f = packed_entries(row)
        counts, bias, endings = counts + c, bias + b, endings + f
    buffers = [common.ptxrun.alloc(logits.tobytes()), common.ptxrun.alloc(slots, readonly=True)]
    buffers += [common.ptxrun.alloc(x if x else b'\0' * 4, readonly=True) for x in (counts, bias, endings)]
    outputs, top = common.ptxrun.alloc(OUTPUT.size * count), common.ptxrun.alloc(8 * MOST_TOP * count)
    tokens = common.ptxrun.alloc(4 * count)
    scratch = common.ptxrun.alloc(16 * count + (sum(totals) + 1) // 2 * 8)
    scanned = common.ptxrun.alloc(b'\xff' * (8 * count * (256 + (vocab + 3 + 511) // 512)))
    ended_buffer = common.ptxrun.alloc(struct.pack(f'<{count}i', *(ended or [0] * count)), readonly=True)
    real_buffer = common.ptxrun.alloc(struct.pack('<i', count if real is None else real))
    params = PARAMS.pack(*[b.ptr for b in buffers], outputs.ptr, top.ptr, tokens.ptr,
                         ended_buffer.ptr if ended else 0, real_buffer.ptr, scratch.ptr,
                         scanned.ptr if scan else 0, vocab, count)
    if any(row.top >= 0 for row in rows):
        common.launch(load('sample_logprobs.cu'), 'logprobs', grid, block, 49152, params, **options)
    prepare = load('sample_prepare.cu')
    if sum(totals) > 0:
        common.launch(prepare, 'adjust_logits', grid, 128, 0, params, **options)
    if scan:
        common.launch(prepare, 'scan_logits', grid + 2, 128, 0, params, **options)
        common.launch(prepare, 'bin_logits', grid + 1, 256, 49152, params, **options)
    common.launch(load('sample.cu'), 'sample', grid, block, 49152, params, **options)
    out = list(OUTPUT.iter_unpack(outputs.read()))
    entries = [[struct.unpack_from('<if', top.read(), 8 * (MOST_TOP * i + j)) for j in range(max(0, rows[i].top))]
               for i in range(count)]
    drawn = tokens.get('i32')
    for b in buffers + [outputs, top, tokens, scratch, scanned, ended_buffer, real_buffer]:
        b.free()
    return drawn, out, entries


SLOT_REST = struct.Struct('<Q q II i i i ii ii ii i')


def close(a, b):
    return a == b or abs(a - b) <= 4e-6 + 4e-7 * abs(b)


def wrong_rows(host, rows, result):
    """Returns the number of rows that differ, printing them."""
    drawn, out, entries = result
    wrong = 0
    for i, row in enumerate(rows):
        token = host_token(host, row) if row.target is None else row.target
        ending = row.endings.index(token) if row.target is None and token in row.endings else -1
        problem = ''
        if out[i][0] != token or (row.target is None and drawn[i] != (token if ending < 0 else ROW_ENDED)):
            problem = f'token {out[i][0]}, the host draws {token}'
        elif out[i][2] != ending:
            problem = f'ending {out[i][2]}, not {ending}'
        elif row.top >= 0:
            expected, logprob = host_logprobs(host, row, token)
            expected += [(-1, -INF)] * (row.top - len(expected))
            if not close(out[i][1], logprob):
                problem = f'logprob {out[i][1]}, the host has {logprob}'
            elif [t for t, _ in expected] != [t for t, _ in entries[i]] or not all(
                    close(a[1], b[1]) for a, b in zip(entries[i], expected)):
                problem = f'top {entries[i]}, the host has {expected}'
        elif out[i][1] != 0:
            problem = f'logprob {out[i][1]} where none was wanted'
        if problem:
            wrong += 1
            if wrong <= 5:
                print(f'  row {i} of {len(row.logits)}: {problem}; options {struct.unpack("<fi d ffff", row.options)}')
    return wrong


def random_logits(rng, vocab):
    kind = rng.integers(0, 10)
    x = rng.standard_normal(vocab).astype(np.float32) * np.float32(rng.choice([0.1, 1, 2.5, 6, 30]))
    if kind == 0:  # ties
        x = np.round(x)
    elif kind == 1:
        x = np.round(x * 2) / 2
        x[rng.random(vocab) < 0.3] = -INF
    elif kind == 2:
        x[:] = -INF
        if rng.random() < 0.7:
            x[rng.integers(0, vocab)] = rng.standard_normal()  # one candidate
    elif kind == 3:
        x[rng.random(vocab) < 0.2] = np.nan
    elif kind == 4:
        x[:] = x[0]
    elif kind == 5:
        x = np.where(rng.random(vocab) < 0.5, np.float32(0), np.float32(-0.0)) + np.where(rng.random(vocab) < .5, 0, x).astype(np.float32)
        x = x.astype(np.float32)
    elif kind == 6 and rng.random() < 0.5:
        x[rng.integers(0, vocab, 2)] = INF
    elif kind == 7:
        x *= np.float32(1e30)
    return x


def random_row(rng, vocab, plain=False):
    options = {}
    if rng.random() < 0.9:
        options['temperature'] = float(rng.choice([1, 0.7, 1.5, 0.01, 1e-30, 5, 100]))
    if rng.random() < 0.4:
        options['top_k'] = int(rng.choice([1, 2, 5, 50, 300, vocab - 1, vocab, vocab + 7]))
    if rng.random() < 0.5:
        options['top_p'] = float(rng.choice([0, 0.1, 0.5, 0.9, 0.95, 0.999999]))
    if rng.random() < 0.3:
        options['min_p'] = float(rng.choice([0.05, 0.5, 1, 1e-9]))
    if not plain:
        if rng.random() < 0.3:
            options['repetition'], options['presence'], options['frequency'] = 1.3, 0.5, 0.1
            n = min(vocab, int(rng.integers(1, 60)))
            ids = rng.permutation(vocab + 2)[:n] - 1
            options['counts'] = [(int(t), int(rng.integers(0, 4)), int(rng.integers(0, 2))) for t in ids]
        if rng.random() < 0.2:
            ids = rng.permutation(vocab)[:min(vocab, 5)]
            options['bias'] = [(int(t), float(rng.choice([3, -2, -INF, 40]))) for t in ids]
        if rng.random() < 0.2:
            options['endings'] = [int(t) for t in rng.integers(-1, vocab + 1, 4)] + [3 % vocab, 3 % vocab]
            options['forbids'] = rng.random() < 0.5
        if rng.random() < 0.3:
            options['top'] = int(rng.choice([0, 1, 5, 20, 64]))
        if rng.random() < 0.1:
            options['target'] = int(rng.integers(0, vocab))
            options['top'] = int(rng.choice([0, 3]))
    logits = random_logits(rng, vocab)
    if 'endings' in options and rng.random() < 0.5:
        options['endings'].append(int(np.argmax(logits)))  # likely to be drawn
    return Row(logits, seed=int(rng.integers(0, 2**63)), choice=int(rng.integers(0, 4)),
               position=int(rng.integers(0, 5000)), **options)


host = compile_host()


def random_rows(vocab, count, block, grid, **options):
    rng = np.random.default_rng(vocab)
    rows = [random_row(rng, vocab) for _ in range(count)]
    wrong = wrong_rows(host, rows, run(rows, grid, block, **options))
    check(f"{count} random rows of {vocab} logits", wrong == 0, f"{wrong} differ")


def test_small_vocabularies():
    for vocab, count, block, grid in ((1, 40, 64, 3), (3, 60, 64, 7), (397, 150, 64, 5), (400, 60, 256, 40)):
        random_rows(vocab, count, block, grid, race=False)
    random_rows(1203, 60, 64, 5, scan=True, race=False)


def test_rows_that_ended():
    rng = np.random.default_rng(8)
    rows = [random_row(rng, 400, plain=True) for _ in range(6)]
    for scan in (False, True):
        drawn, out, _ = run(rows, 2, 64, scan=scan, ended=[0, 1, 0, 0, 1, 0], race=False)
        tokens = [ROW_ENDED if i in (1, 4) else host_token(host, row) for i, row in enumerate(rows)]
        check('rows that ended draw nothing', list(drawn) == tokens and [o[0] for o in out] == tokens, f'{drawn}, not {tokens}')


def test_large_vocabularies():
    for vocab, count, block, grid in ((4096, 24, 256, 9), (50272, 6, 512, 2), (151936, 3, 512, 5)):
        for scan in (False, True):
            random_rows(vocab, count, block, grid, scan=scan, race=False)


def test_more_left_than_the_list_in_shared_memory_holds():
    rng = np.random.default_rng(5)
    equal, near = np.full(20011, 2.5, np.float32), rng.standard_normal(20011).astype(np.float32) * np.float32(0.01)
    few = np.where(rng.random(20011) < 0.9, np.float32(1), near)
    rows = [Row(equal, temperature=1, top_k=15000, seed=1, top=64), Row(equal, temperature=1, top_p=0.7, seed=2),
            Row(near, temperature=1, top_k=15000, top_p=0.9, seed=3, top=64), Row(near, temperature=1, min_p=0.99, seed=4),
            Row(few, temperature=1, top_k=17000, top_p=0.95, seed=5, top=64), Row(np.full(20011, -INF), temperature=1, top=64),
            Row(near, temperature=2, top_p=0.99, seed=6)]
    for scan in (False, True):
        check("20,011 logits next to each other", wrong_rows(host, rows, run(rows, 3, 256, scan=scan, race=False)) == 0)


def test_any_schedule_without_races():
    for seed in range(3):
        random_rows(397, 16, 96, 5, seed=seed, race=True)
        random_rows(1203, 8, 96, 5, scan=True, seed=seed, race=True)


def test_rows_that_are_not_real_are_left_alone():
    drawn, _, _ = run([Row(np.arange(7)) for _ in range(4)], 2, 64, real=3)
    check("three of four", list(drawn[:3]) == [6, 6, 6] and drawn[3] != 6, list(drawn))


common.main(globals())
