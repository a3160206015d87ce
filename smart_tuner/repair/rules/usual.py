"""Where settings lie in recipes that are known to train well; what is not there is told before a step."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from smart_tuner.repair.rule import Hyperparameters


class Usual(NamedTuple):
    low: float
    high: float
    usual: float


# Where recipes lie that are known to train well: of public Tacotron 2 code, and what shipped studies search.
USUAL: dict[str, Usual] = {
    "learning_rate": Usual(1e-5, 3e-2, 1e-3),
    "warmup_steps": Usual(1, 10_000, 50),
    "adam_beta2": Usual(0.9, 0.9999, 0.999),
    "adam_eps": Usual(1e-10, 1e-5, 1e-6),
    "weight_decay": Usual(0.0, 1e-3, 1e-6),
    "grad_clip_thresh": Usual(0.05, 100.0, 1.0),
    "batch_size": Usual(4, 512, 32),
    "n_frames_per_step": Usual(1, 8, 1),
    "mel_l1_weight": Usual(0.0, 100.0, 1.0),
    "mel_l2_weight": Usual(0.0, 100.0, 1.0),
    "gate_weight": Usual(0.1, 10.0, 1.0),
    "gate_positive_weight": Usual(0.1, 30.0, 5.0),
    "guided_attention_weight": Usual(0.0, 20.0, 1.0),
    "guided_attention_sigma": Usual(0.1, 1.0, 0.2),
    "p_frame_dropout": Usual(0.0, 0.5, 0.0),
    "p_encoder_dropout": Usual(0.0, 0.8, 0.5),
    "p_prenet_dropout": Usual(0.2, 0.8, 0.5),
    "p_attention_dropout": Usual(0.0, 0.5, 0.1),
    "p_decoder_dropout": Usual(0.0, 0.5, 0.1),
    "p_postnet_dropout": Usual(0.0, 0.8, 0.5),
}
DROPOUTS = tuple(name for name in USUAL if name.startswith("p_"))
MEL_WEIGHTS = ("mel_l1_weight", "mel_l2_weight")
LEAST_MEL_WEIGHT, LEAST_CLIPS = 0.1, 3  # of both together; of a part of a batch
USUAL_MELS = {"usual_mels": ("weigh the mels as usual", "вернуть обычный вес мел-спектров")}


def usual_mels(settings: Hyperparameters) -> dict[str, float]:
    """The mels' usual weights, where they weigh next to nothing; else nothing to change."""
    if sum(getattr(settings, name) for name in MEL_WEIGHTS) < LEAST_MEL_WEIGHT:
        return {name: USUAL[name].usual for name in MEL_WEIGHTS}
    return {}


def unusual(settings: Mapping[str, float]) -> Iterator[str]:
    """What to tell of settings that no recipe has which is known to train well.

    Args:
        settings: those that somebody chose, by name; the others have their usual values.
    """
    for name, value in settings.items():
        if name in USUAL and not USUAL[name].low <= value <= USUAL[name].high:
            low, high, usual = USUAL[name]
            yield (
                f"{name} = {value:g} is unusual: recipes that train well have {low:g} to {high:g}. Unless "
                f"you mean it, take it out of [settings]; the default is {usual:g}."
            )
    found = {name: usual for name, (_, _, usual) in USUAL.items()} | {"micro_batches": 1} | dict(settings)
    if usual_mels(Hyperparameters(found)):
        weights = " and ".join(f"{name} = {found[name]:g}" for name in MEL_WEIGHTS)
        yield f"{weights} are unusual: mels count next to nothing. Unless you mean it, give one of them 1."
    batch, parts = found["batch_size"], found["micro_batches"]
    if parts > 1 and batch < LEAST_CLIPS * parts:
        yield (
            f"micro_batches = {parts:g} is unusual: a part of a batch of {batch:g} has fewer than "
            f"{LEAST_CLIPS} clips, and each part is normalised by itself. Take fewer parts if memory allows."
        )
