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
from model.network import recurrence, tacotron2
from model.settings import SIZES, Settings
from model.speech.audio import MelSettings
from model.speech.stopping import STEPS_PER_READ
from model.speech.text import FRONT_ENDS
from model.training import Training

LAUNCHES = 76  # a decoder step, forward and backward
# Reads: losses, norm and clips of a step; beside them what a close look compares; losses, gates and
# alignments of a validation; mels and alignments of speech, beside the reads of its StopWatch.
WAITS = {"step": 1, "look": 2, "validation": 3, "speech": 2}
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


def texts(run):
    return [item.symbols.tolist() for item in run.corpus.held_out]


@pytest.mark.parametrize("kept", [1 << 30, 0])
def test_a_step_launches_little_and_hardly_waits(monkeypatch, kept):
    monkeypatch.setattr(recurrence, "SAVED_ENERGY_BYTES", kept)
    few, many = stepped(24), stepped(56)
    assert few.mixed == many.mixed == []
    assert (many.launches["step"].total() - few.launches["step"].total()) / 32 <= LAUNCHES
    assert many.waits["step"] == few.waits["step"]
    assert few.waits["step"].total() <= WAITS["step"], few.waits["step"]


def test_a_step_in_parts_waits_no_more():
    gpu = stepped(24, micro_batches=2)
    assert gpu.waits["step"].total() <= WAITS["step"], gpu.waits["step"]


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


def test_looking_closely_validating_and_speaking_mix_nothing_and_hardly_wait():
    with PretendedCuda() as gpu:
        run = training(24)
        with gpu.part("look"):
            run.advance(closely=True)
        with gpu.part("validation"):
            run.validate(run.corpus.held_out)
        with gpu.part("speech"):
            said = run.voice().read(texts(run), [0, 1, 2, 3])
    assert gpu.mixed == []
    reads = -(-max(len(speech.alignment) for speech in said) // STEPS_PER_READ)
    for part in ("look", "validation", "speech"):
        bound = WAITS[part] + (reads if part == "speech" else 0)
        assert gpu.waits[part].total() <= bound, gpu.waits[part]


@pytest.mark.parametrize("gate", [9.0, 0.0])
def test_what_a_gpu_speaks_in_vain_is_cut_off(monkeypatch, gate):
    spoken = []
    with PretendedCuda():
        run = training(24)
        run.model.get_parameter("decoder.gate_layer.linear_layer.bias").data.fill_(gate)
        for every in (1, STEPS_PER_READ):
            monkeypatch.setattr(tacotron2, "STEPS_PER_READ", every)
            spoken.append(run.voice().read(texts(run), [0, 1, 2, 3]))
    for once, seldom in zip(*spoken, strict=True):
        assert seldom.stop == once.stop
        np.testing.assert_array_equal(seldom.mel, once.mel)
        np.testing.assert_array_equal(seldom.alignment, once.alignment)


def test_training_chooses_kernels_that_repeat(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    with PretendedCuda():
        training(24)
    assert torch.backends.cudnn.deterministic


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
