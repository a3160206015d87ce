"""A HiFi-GAN of a few thousand weights, saved as its authors save theirs."""

import json
from dataclasses import asdict

import torch

from model.speech.audio import MelSettings
from model.speech.hifigan import MEL_KEYS, Generator, Shape

SMALL = Shape("1", (8, 8, 4), (16, 16, 8), 16, (3, 5), ((1, 3), (1, 3)))


def public(shape=SMALL, seed=0):
    """A checkpoint's content, and the generator whose weights it holds."""
    torch.manual_seed(seed)
    generator = Generator(shape, 80)
    weights = {}
    for name, value in generator.state_dict().items():
        if not name.endswith(".weight"):
            weights[name] = value
            continue
        length = value.norm(dim=tuple(range(1, value.dim())), keepdim=True)
        weights |= {f"{name}_g": length, f"{name}_v": value * 3.0}  # its length does not matter
    return {"generator": weights}, generator


def small_vocoder(folder):
    """The checkpoint in a new folder, beside its config.json."""
    folder.mkdir()
    torch.save(public()[0], folder / "generator")
    mels = {theirs: getattr(MelSettings(), ours) for ours, theirs in MEL_KEYS.items()}
    (folder / "config.json").write_text(json.dumps(asdict(SMALL) | mels))
    return folder / "generator"
