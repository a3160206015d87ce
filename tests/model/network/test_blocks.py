"""The recurrences as a GPU computes them, their kernels interpreted, against those of recurrence.py."""

import gc
import importlib.util
import os
import subprocess
import sys
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import blocks, recurrence
from model.network.products import draw_dropout

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture(autouse=True, scope="module")
def _short_blocks():
    """Blocks of few steps, since the interpreter is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 4)
        yield
    blocks.free_memory()


def relative(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30)).item()


def computed(module, seed, steps, batch, symbols, taps, dropout):
    """Outputs and all gradients of both recurrences."""
    random = torch.Generator().manual_seed(seed)
    hidden, context, attention, prenet = 40, 24, 16, 8

    def new(*shape):
        return (torch.randn(*shape, generator=random) * 0.3).requires_grad_()

    weights = new(4 * hidden, prenet), new(4 * hidden), new(4 * hidden, hidden + context)
    text = new(attention, hidden), new(batch, symbols, attention), new(batch, symbols, context)
    inputs, location = new(steps, batch, prenet), (new(attention, 2, taps), new(attention))
    lstm = new(4 * hidden, hidden + context), new(4 * hidden), new(4 * hidden, hidden)
    lengths = torch.randint(1, symbols + 1, (batch,), generator=random)
    lengths[0] = symbols
    padding = torch.arange(symbols) >= lengths[:, None]
    outer = torch.randn(steps, batch, hidden + context, generator=random)
    to_alphas = torch.randn(steps, batch, symbols, generator=random)
    torch.manual_seed(seed)
    masks = [draw_dropout((steps, batch, hidden), 0.3, torch.device("cpu")) if dropout else None] * 2
    states, alphas = module.AttentionRecurrence.apply(inputs, *weights, *text, *location, padding, masks[0])
    out = module.RecurrentLSTM.apply(states, *lstm, context, masks[1])
    leaves = [inputs, *weights, *text, *location, *lstm]
    return states, alphas, out, *torch.autograd.grad([out, alphas], leaves, [outer, to_alphas])


@settings(max_examples=5, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 11),
    st.integers(1, 3),
    st.integers(2, 40),
    st.sampled_from([3, 15, 31]),
    st.booleans(),
)
def test_blocks_are_the_reference(seed, steps, batch, symbols, taps, dropout):
    case = seed, steps, batch, symbols, taps, dropout
    found, expected = computed(blocks, *case), computed(recurrence, *case)
    assert max(map(relative, found, expected)) < 2e-5


def test_nothing_of_the_batch_before_is_left():
    first = computed(blocks, 1, 6, 2, 40, 15, True)
    computed(blocks, 2, 9, 2, 33, 15, False)  # of the same shape once its text is padded
    again = computed(blocks, 1, 6, 2, 40, 15, True)
    assert all(map(torch.equal, first, again))


def test_memory_is_given_back_at_once(monkeypatch):
    monkeypatch.setattr(
        blocks, "recorded", lambda run, device: lambda: None
    )  # a graph knows nothing of these
    shape = blocks.Shape(torch.device("cpu"), precise=True, batch=1, hidden=16)
    block = blocks._block(shape)
    block.forward()
    block.backward()
    kept = weakref.ref(block)
    del block
    gc.disable()
    try:
        blocks.free_memory()
        assert kept() is None
    finally:
        gc.enable()


def test_a_cpu_is_served_by_the_reference():
    assert not blocks.serves(torch.zeros(1))


def test_what_cannot_be_compiled_is_said(monkeypatch):
    device = torch.device("cpu")
    blocks.why_not.cache_clear()
    assert blocks.why_not(device) is None
    blocks.why_not.cache_clear()

    def compiled():
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    monkeypatch.setattr(blocks, "_kernels", compiled)
    assert blocks.why_not(device) == "Triton cannot run its kernels: Failed to find C compiler."
    blocks.why_not.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles on Linux")
def test_no_kernel_spills_its_registers_on_a_hopper_card(tmp_path):
    """Compiled for it without one: in a process of its own, since kernels are interpreted in this one."""
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels", "--capability", "90"],
        env=surroundings | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert {row["kernel"] for row in found} >= {"lstm_cell", "energies", "attend", "keys_gradient"}
    assert [row for row in found if row["spilled"] != "0"] == []
    assert all(0 < int(row["registers"]) < 256 for row in found)
