"""The rules: what each sees in a run's health, and what it would do about it, from the cause upwards.

Every threshold is a field, with its source; those without one are this project's, set on healthy and on
spoilt runs of the quickstart's model (benchmarks/promise.py). Measures that a rule reads are listed in
objectives/signals.py.
"""

from smart_tuner.repair.rule import Rule
from smart_tuner.repair.rules.apart import ClearPrenet, DeadPrenet, SpentRate, SpokenApart
from smart_tuner.repair.rules.attention import (
    Collapse,
    LostAlignment,
    OverbearingGuide,
    PoorAlignment,
    StuckAttention,
    TextIgnored,
)
from smart_tuner.repair.rules.data import FaultyClips, NarrowBatch
from smart_tuner.repair.rules.gate import GateNever, GateSoon, OverbearingGate
from smart_tuner.repair.rules.gradients import DeadModule, ExplodingGradient, VanishingGradients
from smart_tuner.repair.rules.numerics import (
    Integrity,
    NonFinite,
    OutOfMemory,
    OversizedPart,
    StuntedPart,
    UnfitStart,
)
from smart_tuner.repair.rules.progress import Overfit, Plateau, UnlikeClips
from smart_tuner.repair.rules.steps import (
    Divergence,
    HeavyDecay,
    HeavyDropout,
    OvergrownSteps,
    OversizedSteps,
    UnstableLoss,
)

RULES: tuple[Rule, ...] = (
    FaultyClips(),
    Integrity(),
    OversizedPart(),
    StuntedPart(),
    UnfitStart(),
    SpokenApart(),
    NonFinite(),
    OutOfMemory(),
    NarrowBatch(),
    ExplodingGradient(),
    HeavyDecay(),
    HeavyDropout(),
    Divergence(),
    OversizedSteps(),
    OvergrownSteps(),
    SpentRate(),
    DeadPrenet(),
    VanishingGradients(),
    DeadModule(),
    TextIgnored(),
    Collapse(),
    LostAlignment(),
    PoorAlignment(),
    StuckAttention(),
    ClearPrenet(),
    OverbearingGuide(),
    OverbearingGate(),
    GateNever(),
    GateSoon(),
    UnstableLoss(),
    Plateau(),
    Overfit(),
    UnlikeClips(),
)
