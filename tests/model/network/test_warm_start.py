import argparse
import contextlib
import os
import subprocess
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.network.tacotron2 import Tacotron2
from model.network.warm_start import PUBLIC_SYMBOLS, WarmStartError, Weights, read, warm_start
from model.settings import SIZES, Dimensions, Settings
from model.speech.audio import MelSettings
from model.speech.text import FRONT_ENDS, front_end_of
from model.speech.voice import Voice, save_voice

SMALL = replace(SIZES["tiny"], mel_mean=0.0, mel_scale=1.0, max_frames_per_step=1)


def public_checkpoint(path, dimensions, **content):
    torch.manual_seed(5)
    model = Tacotron2(replace(dimensions, n_symbols=148))
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"iteration": 7, "state_dict": state, "learning_rate": 1e-3, **content}, path)
    return model


def test_the_first_public_symbols_are_where_public_checkpoints_have_them():
    assert len(PUBLIC_SYMBOLS) == 64
    assert (PUBLIC_SYMBOLS[0], PUBLIC_SYMBOLS[11], PUBLIC_SYMBOLS[12], PUBLIC_SYMBOLS[38]) == (
        "_",
        " ",
        "A",
        "a",
    )


def test_a_public_checkpoint_fills_the_network_by_symbol_and_by_frame(tmp_path):
    source = public_checkpoint(tmp_path / "public.pt", SMALL)
    front_end = FRONT_ENDS["en"]
    target = Tacotron2(replace(SMALL, n_symbols=len(front_end.symbols), max_frames_per_step=3))
    fresh = target.embedding.weight.clone()
    told = warm_start(target, front_end, read(tmp_path / "public.pt"))
    assert told.skipped == ()
    assert len(told.reshaped) == 3
    a = front_end.symbols.index("a")
    torch.testing.assert_close(target.embedding.weight[a], source.embedding.weight[38])
    end = front_end.symbols.index("~")
    torch.testing.assert_close(target.embedding.weight[end], fresh[end])
    projection = "decoder.linear_projection.linear_layer.weight"
    for block in target.state_dict()[projection].chunk(3):
        torch.testing.assert_close(block, source.state_dict()[projection])
    torch.testing.assert_close(target.encoder.lstm.weight_hh_l0, source.encoder.lstm.weight_hh_l0)


def test_a_checkpoint_of_the_public_package_loads_whole(tmp_path):
    public = pytest.importorskip("tacotron2_model")
    torch.save({"state_dict": public.Tacotron2().state_dict()}, tmp_path / "public.pt")
    target = Tacotron2(Dimensions(n_symbols=len(FRONT_ENDS["en"].symbols)))
    told = warm_start(target, FRONT_ENDS["en"], read(tmp_path / "public.pt"))
    assert (told.reshaped, told.skipped) == (("embedding.weight",), ())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    if content is None:
        torch.save({"weights": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WarmStartError, match=r"Cannot start from .*\n.*\nGive a checkpoint"):
        read(path)


class Hparams(dict):
    """As several public programs keep their settings."""


class Slots:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 1e-3


class Calling:
    """A file that would run something when it is read."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def optimizer():
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    adam = torch.optim.Adam([weight])
    adam.step()
    return adam.state_dict()


MORE = {
    "an optimizer's state": optimizer,
    "a number of numpy's": lambda: np.float64(1e-3),
    "an array of numpy's": lambda: np.arange(3),
    "settings": lambda: argparse.Namespace(rate=1e-3),
    "settings like a dictionary": lambda: Hparams(rate=np.float64(1e-3), layers=[1, 2]),
    "settings with slots": Slots,
    "a default dictionary": lambda: defaultdict(list, {"layers": [1]}),
    "the state of random numbers": np.random.get_state,
    "a path": lambda: Path("filelists/train.txt"),
    "bytes": lambda: b"abc",
    "a whole module": lambda: torch.nn.Linear(2, 2),
}


# torch before 1.6 kept the source of a whole module, which is refused today
@pytest.mark.parametrize(("more", "of_now"), [*product(MORE, [True, False])][:-1])
def test_what_a_checkpoint_holds_beside_its_weights_is_passed_over(tmp_path, more, of_now):
    state = {"module.embedding.weight": torch.ones(148, 8), "module.odd": torch.tensor(3j)}
    content = {"iteration": 3, "state_dict": state, "learning_rate": 1e-3, "more": MORE[more]()}
    torch.save(content, tmp_path / "public.pt", _use_new_zipfile_serialization=of_now)
    found = read(tmp_path / "public.pt").tensors
    assert found.keys() == {"embedding.weight"}
    torch.testing.assert_close(found["embedding.weight"], torch.ones(148, 8))


@pytest.mark.parametrize("of_now", [True, False])
@pytest.mark.parametrize("call", [os.mkdir, eval, exec, subprocess.check_call, getattr])
def test_nothing_that_a_checkpoint_names_is_called(tmp_path, monkeypatch, call, of_now):
    monkeypatch.chdir(tmp_path)
    words = {os.mkdir: "made", subprocess.check_call: ["mkdir", "made"], getattr: "made"}
    evil = Calling(call, (words.get(call, "__import__('os').mkdir('made')"),))
    state = {"embedding.weight": torch.ones(148, 8)}
    torch.save({"state_dict": state, "more": evil}, "public.pt", _use_new_zipfile_serialization=of_now)
    with contextlib.suppress(WarmStartError):
        read(Path("public.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["public.pt"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of_now=st.booleans(), at=st.integers(0), flip=st.integers(1, 255), cut=st.booleans())
def test_a_checkpoint_with_any_damage_is_read_or_refused_in_words(tmp_path_factory, of_now, at, flip, cut):
    path = tmp_path_factory.mktemp("public") / "public.pt"
    state = {"embedding.weight": torch.ones(4, 2), "x": torch.ones(1)}
    content = {"state_dict": state, "hparams": Hparams(rate=1)}
    torch.save(content, path, _use_new_zipfile_serialization=of_now)
    damaged = bytearray(path.read_bytes())
    damaged[at % len(damaged)] ^= flip
    path.write_bytes(damaged[: at % len(damaged)] if cut else damaged)
    try:
        read(path)
    except WarmStartError as error:
        assert len(str(error).splitlines()) == 3


def test_a_checkpoint_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(WarmStartError, match=r"no such file\.\n.*warm_start in the study file"):
        read(tmp_path / "none.pt")


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4), (148, 0)])
def test_tensors_of_odd_shapes_are_passed_over(shape):
    model = Tacotron2(replace(SMALL, n_symbols=len(FRONT_ENDS["en"].symbols)))
    projection = [f"decoder.linear_projection.linear_layer.{part}" for part in ("weight", "bias")]
    odd = {name: torch.ones(shape) for name in ("embedding.weight", *projection)}
    public = Weights(Path("odd.pt"), {**model.state_dict(), **odd}, "")
    assert {*warm_start(model, FRONT_ENDS["en"], public).skipped} == odd.keys()


def test_normalised_mels_and_other_sizes_are_refused(tmp_path):
    public_checkpoint(tmp_path / "public.pt", SMALL)
    public = read(tmp_path / "public.pt")
    for dimensions, reason in (
        (replace(SMALL, mel_scale=2.0), "mel_scale = 1.0"),
        (SIZES["small"], "expect"),
    ):
        with pytest.raises(WarmStartError, match=reason):
            warm_start(Tacotron2(replace(dimensions, n_symbols=43)), FRONT_ENDS["en"], public)


def voice_of(dimensions, front_end, frames):
    torch.manual_seed(5)
    model = Tacotron2(replace(dimensions, n_symbols=len(front_end.symbols)))
    return Voice(model, front_end, MelSettings(), Settings(n_frames_per_step=frames))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_voice_of_ours_fills_the_network_by_symbol_also_in_another_language(tmp_path, language):
    dimensions = replace(SIZES["tiny"], max_frames_per_step=3)
    source = voice_of(dimensions, front_end_of("en", "phonemes"), 3)
    save_voice(source, tmp_path)
    front_end = front_end_of(language, "phonemes")
    target = Tacotron2(replace(dimensions, n_symbols=len(front_end.symbols)))
    told = warm_start(target, front_end, read(tmp_path))
    assert (told.reshaped, told.skipped) == ((), ())
    for name, tensor in source.model.state_dict().items():
        torch.testing.assert_close(target.state_dict()[name], tensor)


@given(made=st.integers(1, 4), most=st.integers(1, 4), wanted=st.integers(1, 4))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_symbols_and_frames_that_a_voice_never_had_begin_anew(tmp_path_factory, made, most, wanted):
    folder, most = tmp_path_factory.mktemp("voice"), max(made, most)
    source = voice_of(replace(SIZES["tiny"], max_frames_per_step=most), FRONT_ENDS["en"], made)
    save_voice(source, folder)
    front_end = FRONT_ENDS["ru"]
    dimensions = replace(SIZES["tiny"], n_symbols=len(front_end.symbols), max_frames_per_step=wanted)
    target = Tacotron2(dimensions)
    fresh = target.embedding.weight.clone()
    told = warm_start(target, front_end, read(folder))
    assert "embedding.weight" in told.reshaped and told.skipped == ()
    for row, symbol in enumerate(front_end.symbols):
        known = source.front_end.symbols.index(symbol) if symbol in source.front_end.symbols else None
        expected = fresh[row] if known is None else source.model.embedding.weight[known]
        torch.testing.assert_close(target.embedding.weight[row], expected)
    theirs = source.model.decoder.linear_projection.linear_layer.weight.view(most, 80, -1)
    ours = target.decoder.linear_projection.linear_layer.weight.view(wanted, 80, -1)
    for frame in range(wanted):
        torch.testing.assert_close(ours[frame], theirs[min(frame, made - 1)])


@pytest.mark.parametrize("spoilt", ["voice.json", "model.safetensors", None])
def test_a_folder_that_is_no_voice_is_refused_with_what_to_do(tmp_path, spoilt):
    save_voice(voice_of(SIZES["tiny"], FRONT_ENDS["en"], 1), tmp_path)
    if spoilt is None:
        (tmp_path / "model.safetensors").unlink()
    else:
        (tmp_path / spoilt).write_bytes((tmp_path / spoilt).read_bytes()[:100])
    with pytest.raises(WarmStartError, match=r"no voice of this program: .*\nGive the folder that run_study"):
        read(tmp_path)
