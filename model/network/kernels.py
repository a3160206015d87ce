"""Triton kernels of one decoder step, forward and backward; equations and names as in recurrence.py.

Every program takes one item of the batch and a part of its text, its width or its hidden state. Nothing
is added to by two programs, so results repeat bit by bit. With TRITON_INTERPRET=1 they run on a CPU.
Importing this module needs Triton, which torch brings where it is built for CUDA.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def lstm_cell(
    gates,  # (B, 4H): what the inputs give; becomes i, f, n, o
    product,  # (B, 4H): what is fed back gives
    kept,  # (B, H) uint8: dropout
    scale,  # (1): of what is kept
    before,  # (B, H): the cell
    cell,  # (B, H), out
    hidden,  # (B, H), out: rows are `stride` apart
    stride,
    H: tl.constexpr,
    WIDTH: tl.constexpr,
):
    b, cols = tl.program_id(0), tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside, at = cols < H, b * 4 * H + cols
    i = tl.sigmoid(tl.load(gates + at, inside) + tl.load(product + at, inside))
    f = tl.sigmoid(tl.load(gates + at + H, inside) + tl.load(product + at + H, inside))
    n = _tanh(tl.load(gates + at + 2 * H, inside) + tl.load(product + at + 2 * H, inside))
    o = tl.sigmoid(tl.load(gates + at + 3 * H, inside) + tl.load(product + at + 3 * H, inside))
    c = f * tl.load(before + b * H + cols, inside) + i * n
    mask = tl.load(kept + b * H + cols, inside).to(tl.float32) * tl.load(scale)
    tl.store(gates + at, i, inside)
    tl.store(gates + at + H, f, inside)
    tl.store(gates + at + 2 * H, n, inside)
    tl.store(gates + at + 3 * H, o, inside)
    tl.store(cell + b * H + cols, c, inside)
    tl.store(hidden + b * stride + cols, mask * o * _tanh(c), inside)


@triton.jit
def lstm_cell_gradient(
    gates,  # (B, 4H): i, f, n, o; becomes the gradient of their inputs
    kept,  # (B, H) uint8
    scale,  # (1)
    before,  # (B, H): the cell before the step
    cell,  # (B, H): and after it
    d_out,  # (B, H): the gradient of the hidden state from outside; rows are `out_stride` apart
    carried,  # (B, H): from the next step; rows are `carried_stride` apart
    from_query,  # (B, H): from this step's attention, where there is one
    d_cell,  # (B, H): of the cell, from the next step; becomes that for the step before
    out_stride,
    carried_stride,
    H: tl.constexpr,
    WIDTH: tl.constexpr,
    QUERIED: tl.constexpr,
):
    b, cols = tl.program_id(0), tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside, at = cols < H, b * 4 * H + cols
    d_h = tl.load(d_out + b * out_stride + cols, inside)
    d_h += tl.load(carried + b * carried_stride + cols, inside)
    if QUERIED:
        d_h += tl.load(from_query + b * H + cols, inside)
    d_h *= tl.load(kept + b * H + cols, inside).to(tl.float32) * tl.load(scale)
    i, f = tl.load(gates + at, inside), tl.load(gates + at + H, inside)
    n, o = tl.load(gates + at + 2 * H, inside), tl.load(gates + at + 3 * H, inside)
    tau = _tanh(tl.load(cell + b * H + cols, inside))
    d_c = tl.load(d_cell + b * H + cols, inside) + d_h * o * (1.0 - tau * tau)
    tl.store(gates + at, d_c * n * i * (1.0 - i), inside)
    tl.store(gates + at + H, d_c * tl.load(before + b * H + cols, inside) * f * (1.0 - f), inside)
    tl.store(gates + at + 2 * H, d_c * i * (1.0 - n * n), inside)
    tl.store(gates + at + 3 * H, d_h * tau * o * (1.0 - o), inside)
    tl.store(d_cell + b * H + cols, d_c * f, inside)


@triton.jit
def _windows(weights, b, rows, L, N_TAPS: tl.constexpr, TAPS: tl.constexpr):
    """(ROWS, 2 TAPS): the last and the summed weights (B, 2, L) around each row; zero beyond the taps."""
    column = tl.arange(0, 2 * TAPS)
    tap = column % TAPS
    at = rows[:, None] + tap[None, :] - N_TAPS // 2
    seen = (at >= 0) & (at < L) & (tap[None, :] < N_TAPS)
    return tl.load(weights + (2 * b + column[None, :] // TAPS) * L + at, seen, 0.0)


@triton.jit
def _theta(windows, query, keys, kernel, b, rows, L, A: tl.constexpr, TAPS: tl.constexpr,
           PRECISION: tl.constexpr):  # fmt: skip
    """(ROWS, A)"""
    column, cols = tl.arange(0, 2 * TAPS), tl.arange(0, A)
    z = tl.dot(windows, tl.load(kernel + column[:, None] * A + cols[None, :]), input_precision=PRECISION)
    z += tl.load(keys + (b * L + rows[:, None]) * A + cols[None, :])
    return _tanh(z + tl.load(query + b * A + cols)[None, :])


@triton.jit
def energies(
    weights,  # (B, 2, L): last and summed
    query,  # (B, A): h Qᵀ
    keys,  # (B, L, A)
    kernel,  # (2 TAPS, A): zero beyond N_TAPS
    v,  # (A)
    padding,  # (B, L) uint8
    out,  # (B, L), out
    L,  # a multiple of ROWS
    A: tl.constexpr,
    N_TAPS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b, rows = tl.program_id(0), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    seen = _windows(weights, b, rows, L, N_TAPS, TAPS)
    theta = _theta(seen, query, keys, kernel, b, rows, L, A, TAPS, PRECISION)
    e = tl.sum(theta * tl.load(v + tl.arange(0, A))[None, :], axis=1)
    tl.store(out + b * L + rows, tl.where(tl.load(padding + b * L + rows) != 0, float("-inf"), e))


@triton.jit
def attend(
    energy,  # (B, L)
    before,  # (B, 2, L): last and summed weights
    memory,  # (B, L, E)
    after,  # (B, 2, L), out
    context,  # (B, E), out: rows are `stride` apart
    L,
    stride,
    E: tl.constexpr,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
):
    b, cols = tl.program_id(0), tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    rows = tl.arange(0, LENGTH)
    e = tl.load(energy + b * L + rows, rows < L, float("-inf"))
    p = tl.exp(e - tl.max(e, axis=0))
    p = p / tl.sum(p, axis=0)
    if tl.program_id(1) == 0:
        at = 2 * b * L + rows
        tl.store(after + at, p, rows < L)
        tl.store(after + at + L, p + tl.load(before + at + L, rows < L), rows < L)
    inside = (rows[:, None] < L) & (cols[None, :] < E)
    y = tl.load(memory + (b * L + rows[:, None]) * E + cols[None, :], inside, 0.0)
    tl.store(context + b * stride + cols, tl.sum(p[:, None] * y, axis=0), cols < E)


@triton.jit
def weights_gradient(
    d_context,  # (B, E): from outside; rows are `out_stride` apart
    carried,  # (B, E): from the next step; rows are `carried_stride` apart
    memory,  # (B, L, E)
    d_outside,  # (B, L): of the weights, from outside
    to_windows,  # (B, L, 2 TAPS): what the next step's windows give back
    to_summed,  # (B, L): what all later steps' windows give back; this one's are added
    d_contexts,  # (B, E), out: the whole gradient of the context
    d_weights,  # (B, L), out
    L,
    out_stride,
    carried_stride,
    E: tl.constexpr,
    N_TAPS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    b, rows = tl.program_id(0), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    found = tl.load(d_outside + b * L + rows)
    for start in range(0, E, WIDTH):
        cols = start + tl.arange(0, WIDTH)
        d_x = tl.load(d_context + b * out_stride + cols, cols < E, 0.0)
        d_x += tl.load(carried + b * carried_stride + cols, cols < E, 0.0)
        if tl.program_id(1) == 0:
            tl.store(d_contexts + b * E + cols, d_x, cols < E)
        y = tl.load(memory + (b * L + rows[:, None]) * E + cols[None, :], cols[None, :] < E, 0.0)
        found += tl.sum(y * d_x[None, :], axis=1)
    taps = tl.arange(0, TAPS)
    row = rows[:, None] - taps[None, :] + N_TAPS // 2  # whose window saw this position at that tap
    seen = (row >= 0) & (row < L) & (taps[None, :] < N_TAPS)
    at = (b * L + row) * 2 * TAPS + taps[None, :]
    summed = tl.sum(tl.load(to_windows + at + TAPS, seen, 0.0), axis=1) + tl.load(to_summed + b * L + rows)
    tl.store(to_summed + b * L + rows, summed)
    found += tl.sum(tl.load(to_windows + at, seen, 0.0), axis=1) + summed
    tl.store(d_weights + b * L + rows, found)


@triton.jit
def energies_gradient(
    before,  # (B, 2, L): the weights that the windows saw
    after,  # (B, 2, L): those that came of them
    query,  # (B, A)
    keys,  # (B, L, A)
    kernel,  # (2 TAPS, A)
    v,  # (A)
    d_weights,  # (B, L)
    d_z,  # (B, L, A), out: the gradient of z, and of the keys
    to_windows,  # (B, L, 2 TAPS), out
    d_query,  # (B, L / ROWS, A), out: parts
    d_v,  # (B, L / ROWS, A): parts, added to
    L,
    A: tl.constexpr,
    N_TAPS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    LENGTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b, part = tl.program_id(0), tl.program_id(1)
    every, rows = tl.arange(0, LENGTH), part * ROWS + tl.arange(0, ROWS)
    p = tl.load(after + 2 * b * L + every, every < L, 0.0)
    mean = tl.sum(p * tl.load(d_weights + b * L + every, every < L, 0.0), axis=0)
    d_e = tl.load(after + 2 * b * L + rows) * (tl.load(d_weights + b * L + rows) - mean)
    seen = _windows(before, b, rows, L, N_TAPS, TAPS)
    theta = _theta(seen, query, keys, kernel, b, rows, L, A, TAPS, PRECISION)
    column, cols = tl.arange(0, 2 * TAPS), tl.arange(0, A)
    found = d_e[:, None] * (1.0 - theta * theta) * tl.load(v + cols)[None, :]
    tl.store(d_z + (b * L + rows[:, None]) * A + cols[None, :], found)
    at = (b * tl.num_programs(1) + part) * A + cols
    tl.store(d_query + at, tl.sum(found, axis=0))
    tl.store(d_v + at, tl.load(d_v + at) + tl.sum(theta * d_e[:, None], axis=0))
    back = tl.load(kernel + column[None, :] * A + cols[:, None])
    given = tl.dot(found, back, input_precision=PRECISION)
    tl.store(to_windows + (b * L + rows[:, None]) * 2 * TAPS + column[None, :], given)


@triton.jit
def keys_gradient(
    weights,  # (STEPS, B, 2, L): what the windows of each step saw
    d_z,  # (STEPS, B, L, A)
    d_keys,  # (B, L, A), added to
    d_kernel,  # (B, L / ROWS, 2 TAPS, A): parts, added to
    L,
    A: tl.constexpr,
    N_TAPS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    STEPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b, part = tl.program_id(0), tl.program_id(1)
    rows = part * ROWS + tl.arange(0, ROWS)
    column, cols = tl.arange(0, 2 * TAPS), tl.arange(0, A)
    key = (b * L + rows[:, None]) * A + cols[None, :]
    place = ((b * tl.num_programs(1) + part) * 2 * TAPS + column[:, None]) * A + cols[None, :]
    of_keys, of_kernel = tl.load(d_keys + key), tl.load(d_kernel + place)
    batch = tl.num_programs(0)
    for step in range(STEPS):
        found = tl.load(d_z + step * batch * L * A + key)
        seen = _windows(weights + step * batch * 2 * L, b, rows, L, N_TAPS, TAPS)
        of_keys += found
        of_kernel += tl.dot(tl.trans(seen), found, input_precision=PRECISION)
    tl.store(d_keys + key, of_keys)
    tl.store(d_kernel + place, of_kernel)
