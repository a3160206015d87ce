"""What a study's objective says of its numbers, for whoever shows them and imports no code of the user's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import optuna

from objectives.signals import WORDS
from smart_tuner.repair.words import Catalogue
from smart_tuner.store import attributes
from smart_tuner.store.attributes import is_number, text, texts, with_unit

# What studies of version 0.1, which all trained Tacotron 2, would have stored.
BEFORE: dict[str, Any] = {
    "unit": "dB",
    "curves": ["unweighted_loss", "guided"],
    "measures": ["aligned_share", "failure_share", "diagonal_score", "gate_accuracy", "shortest", "longest"],
}


@dataclass(frozen=True)
class Described:
    """The description as the study stores it.

    Args:
        unit: of a value; may be empty.
        curves: the signals of a step that are plotted while a trial runs.
        measures: the numbers of a measure that are shown beside its value, the weightiest first.
        words: English and Russian, of "measure.NAME", "setting.NAME" and the like.
        limits: the smallest and largest value that each parameter of an own objective may ever have.
    """

    unit: str
    curves: tuple[str, ...]
    measures: tuple[str, ...]
    words: Catalogue
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        found = _stored(study)
        return cls(
            text(found.get("unit")) or "",
            texts(found.get("curves")),
            texts(found.get("measures")),
            words_of(study),
            _limits(found.get("limits")),
        )

    @property
    def weightiest(self) -> tuple[str, ...]:
        """The measures for which a table has room."""
        return self.measures[:2]

    def shown(self, value: float) -> str:
        """A value of the objective, with its unit."""
        return with_unit(value, self.unit)

    def name(self, measure: str) -> str:
        """In English, that of a number as it is stored."""
        return self.words.get(f"measure.{measure}", (measure, measure))[0]


def words_of(study: optuna.Study) -> Catalogue:
    """What the study's rules, measures and settings are called, beside what is built in."""
    before = WORDS if _stored(study) is BEFORE else {}
    return {**before, **attributes.words(study)}


def _limits(found: Any) -> dict[str, tuple[float, float]]:
    """What has two numbers, by name."""
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: (pair[0], pair[1]) for name, pair in pairs if _is_pair(pair)}


def _is_pair(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(map(is_number, found))


def _stored(study: optuna.Study) -> Mapping[str, Any]:
    found = study.user_attrs.get("objective")
    return found if isinstance(found, dict) else BEFORE
