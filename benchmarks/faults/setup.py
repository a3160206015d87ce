"""What a run is made of, before and after a case has spoilt it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.faults.language import Shape
from benchmarks.faults.stage import Stage, dimensions, source_of, spoken
from model.data.corpus import Corpus
from model.settings import Dimensions, Settings
from model.training import Training

Change = Callable[[Training], None]


@dataclass(frozen=True)
class Strike:
    """What befalls a run while it trains.

    Args:
        after: steps since the case's onset.
        lasting: a training that is begun later, in a restart, has it from its start.
    """

    hit: Change
    after: int = 0
    lasting: bool = False


@dataclass(frozen=True)
class Setup:
    """A recipe. `shape` is the language of the held-out clips, which stay sound whatever befalls training."""

    settings: Settings
    shape: Shape
    corpus: Corpus
    installs: tuple[Change, ...] = ()  # made to every training before its first step
    strikes: tuple[Strike, ...] = ()
    dimensions: Dimensions | None = None  # None: those of the stage

    @classmethod
    def of(cls, stage: Stage, shape: Shape, half: str = "development") -> "Setup":
        shape = replace(shape, source=source_of(stage, half))
        return cls(stage.settings, shape, spoken(shape).corpus)

    def training(self, seed: int) -> Training:
        shapes = self.dimensions or dimensions(self.corpus)
        training = Training(self.corpus, shapes, self.settings, seed)
        for install in self.installs:
            install(training)
        return training

    def with_settings(self, **changes: float) -> "Setup":
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]

    def with_install(self, install: Change) -> "Setup":
        return replace(self, installs=(*self.installs, install))

    def with_strikes(self, *strikes: Strike) -> "Setup":
        return replace(self, strikes=(*self.strikes, *strikes))
