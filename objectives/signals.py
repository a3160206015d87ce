"""What Tacotron 2's runs measure and may be given, said without loading the network (no torch here)."""

from dataclasses import asdict, fields

from model.settings import LIMITS, Dimensions, Settings
from objectives.base import Parameter
from smart_tuner.repair.health import COMMON, Signal

# The front end gives the number of symbols, the mel settings the number of bands.
GIVEN = {"n_symbols", "n_mel_channels"}
# What the searched weights are measured against stays the same in every trial of a study.
NOT_SEARCHED = {"max_frames_per_step", "mel_mean", "mel_scale"}
DIMENSION_LIMITS = {
    "max_frames_per_step": LIMITS["n_frames_per_step"],
    "mel_mean": (-20.0, 20.0),
    "mel_scale": (0.01, 100.0),
}


def _dimension(name: str, default: int | float) -> Parameter:
    low, high = DIMENSION_LIMITS.get(name, (1, 8192))
    parity = {"kernel_size": "odd", "encoder_embedding_dim": "even"}
    kind = next((kind for ending, kind in parity.items() if name.endswith(ending)), None)
    return Parameter(default, low, high, False, name not in NOT_SEARCHED, kind)  # type: ignore[arg-type]


PARAMETERS = {name: Parameter(default, *LIMITS[name]) for name, default in asdict(Settings()).items()} | {
    field.name: _dimension(field.name, field.default)  # type: ignore[arg-type]
    for field in fields(Dimensions)
    if field.name not in GIVEN
}


MILESTONE = "aligned"
SIGNALS = {
    # at a validation, on held-out sentences, with the true frames before
    "aligned": Signal(),
    "diagonal_score": Signal("larger", of_weights=True, max_worse=0.1, judged=True, at_milestone=True),
    "corr": Signal("larger", of_weights=True, at_milestone=True),
    "penalty": Signal(judged=True),
    **dict.fromkeys(("coverage", "back", "leap", "dwell", "focus", "constant"), Signal()),
    "gate_accuracy": Signal("larger", max_worse=0.1, judged=True),
    "gate_late": Signal(),
    "text_gain": Signal("larger", of_run=True),
    "held_out": COMMON["held_out"],
    "value": COMMON["value"],  # free-running
    # at every step
    "unweighted_loss": COMMON["unweighted_loss"],  # the L1 of mels
    "grad_norm": COMMON["grad_norm"],
    "guided": Signal("smaller", of_weights=True, each_step=True),  # attention off the diagonal
    **dict.fromkeys(("loss", "gate", "learning_rate", "clips"), Signal()),
    # now and then, of each part of the network
    **dict.fromkeys(("gradient/", "update/", "silent/", "unchanged/"), Signal()),
}

WORDS: dict[str, tuple[str, str]] = {}
