"""What a GPU would do, on any machine: nothing mixed, few waits, few launches, the same numbers.

The bounds are what the code does now: whoever makes it better lowers them.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pretended_cuda import DEVICE, PretendedCuda, inner

from model.data.corpus import Corpus, Utterance
from model.data.preflight import Report
from model.network import recurrence
from model.settings import SIZES, Settings
from model.speech.audio import MelSettings
from model.speech.text import FRONT_ENDS
from model.training import Training

LAUNCHES = 76  # a decoder step, forward and backward
WAITS = 13  # a training step
DRY = {f"p_{part}_dropout": 0.0 for part in ("encoder", "prenet", "attention", "decoder", "postnet")}


def training(frames, device=str(DEVICE), **settings):
    rng = np.random.default_rng(0)
    items = tuple(
        Utterance(
            str(i), "", rng.integers(1, 30, 9 + i), rng.normal(-5, 2, (frames - i, 80)).astype(np.float32)
        )
        for i in range(4)
    )
    corpus = Corpus(items, items, FRONT_ENDS["en"], MelSettings(), "made-up", Report((), (), 0, {}, None))
    return Training(
        corpus, replace(SIZES["tiny"], n_symbols=148), Settings(batch_size=4, **settings), 0, device
    )


def stepped(frames, **settings):
    with PretendedCuda() as gpu:
        run = training(frames, **settings)
        run.advance()
        with gpu.part("step"):
            run.advance()
    return gpu


@pytest.mark.parametrize("kept", [1 << 30, 0])
def test_a_step_launches_little_and_hardly_waits(monkeypatch, kept):
    monkeypatch.setattr(recurrence, "SAVED_ENERGY_BYTES", kept)
    few, many = stepped(24), stepped(56)
    assert few.mixed == many.mixed == []
    assert (many.launches["step"].total() - few.launches["step"].total()) / 32 <= LAUNCHES
    assert many.waits["step"] == few.waits["step"]
    assert few.waits["step"].total() <= WAITS, few.waits["step"]


def test_the_recurrences_never_wait(monkeypatch):
    """So a CUDA graph can hold them."""
    gpu = PretendedCuda()
    for cls in (recurrence.AttentionRecurrence, recurrence.RecurrentLSTM):
        for name in ("forward", "backward"):
            real = getattr(cls, name)

            def within(*args, real=real):
                with gpu.part("recurrence"):
                    return real(*args)

            monkeypatch.setattr(cls, name, staticmethod(within))
    with gpu:
        training(24).advance()
    assert gpu.launches["recurrence"].total() > 500
    assert not gpu.waits["recurrence"]


def test_looking_closely_validating_and_speaking_mix_no_devices():
    with PretendedCuda() as gpu:
        run = training(24)
        run.advance(closely=True)
        run.validate(run.corpus.held_out)
        run.voice().read([item.symbols.tolist() for item in run.corpus.held_out], [0, 1, 2, 3])
    assert gpu.mixed == []


def test_numbers_are_those_of_the_cpu():
    cpu = training(24, "cpu", **DRY).advance()
    with PretendedCuda():
        gpu = training(24, **DRY).advance()
    assert gpu.loss == pytest.approx(cpu.loss, rel=1e-5)
    assert gpu.grad_norm == pytest.approx(cpu.grad_norm, rel=1e-4)


def test_the_pretended_gpu_sees_faults():
    with PretendedCuda() as gpu:
        with gpu.part("copies"):
            x = torch.ones(3).pin_memory().to(DEVICE, non_blocking=True)
            torch.ones(3).to(DEVICE, non_blocking=True)
            torch.ones(3).pin_memory().to(DEVICE)
        with gpu.part("mixed"):
            y = x * 2 + torch.ones(3)
        with gpu.part("read"):
            assert float(y.sum()) == 9.0
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(y)
    assert gpu.waits["copies"].total() == 2
    assert [at.split()[0] for at in gpu.mixed] == ["add"]
    assert gpu.launches["mixed"].total() == 2
    assert (gpu.launches["read"].total(), gpu.waits["read"].total()) == (1, 1)
    assert torch.equal(inner(y), torch.full((3,), 3.0))
