"""What a training of Tacotron 2 measures, and what each measure says of its health."""

from smart_tuner.repair.health import COMMON, Signal

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
    "text_gain": Signal("larger"),
    "held_out": COMMON["held_out"],
    "value": COMMON["value"],  # free-running
    # at every step
    "unweighted_loss": COMMON["unweighted_loss"],  # the L1 of mels
    "grad_norm": COMMON["grad_norm"],
    "guided": Signal("smaller", of_weights=True, each_step=True),  # attention off the diagonal
    **dict.fromkeys(("loss", "gate", "clips"), Signal()),
    # now and then, of each part of the network
    **dict.fromkeys(("gradient/", "update/", "silent/", "unchanged/"), Signal()),
}
