"""The words of a repair: what a rule sees, what it would do, and the record of what was done."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from smart_tuner.repair.health import Health

Templates = Mapping[str, str | tuple[str, str]]  # by code: in English alone, or in English and Russian
S = TypeVar("S")  # the settings of a training: any frozen dataclass
Value = float | str  # what a sentence is filled with: a number or a short text, such as names of clips

# After a jump of a loss weight Adam's step is up to five times the learning rate (beta2 0.999); warmed up
# anew from a fifth it stays near one.
REWARM_FROM = 0.2


class Hyperparameters(Protocol):
    """What a rule may read of a training's settings: its numbers, by name."""

    def __getattr__(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Alarm:
    """What a rule saw: the code of a sentence (smart_tuner/repair/words.py), and what it is filled with."""

    code: str
    evidence: Mapping[str, Value]
    clips: tuple[str, ...] = ()  # that it is about
    parts: tuple[str, ...] = ()  # of the network, that it is about


@dataclass(frozen=True)
class Action:
    """What to do to a run: at most one way back and one change."""

    code: str  # of the sentence that tells it
    changes: Mapping[str, float] = field(default_factory=dict)  # settings and their new values
    back_to: str | None = None  # "good", "aligned" or "start"
    fresh: str | None = None  # the part of the network that gets new weights
    exclude: bool = False  # leave the alarm's clips out of training from now on
    renew: bool = False  # give the alarm's parts of the network new weights
    values: Mapping[str, Value] = field(default_factory=dict)  # that the sentence is filled with


@dataclass(frozen=True)
class Rule:
    """A rule only sees and proposes; AutoFix acts. Thresholds are its fields, so that a study may set them.

    Lower levels are nearer to the cause, and silence the higher ones; priority breaks ties.
    """

    level: ClassVar[int]
    priority: ClassVar[int]
    tier: ClassVar[str] = "validation"  # when it is asked: "step", "probe" or "validation"
    votes: ClassVar[tuple[int, int]] = (3, 4)  # fires on so many of so many askings
    max_remedies: ClassVar[int] = 3  # changes that it may make in a trial
    gives_up: ClassVar[str | None] = "PRUNED"  # the trial's end; None: only reported
    target: ClassVar[str] = "mel"  # the measure by which a repair is judged,
    gain: ClassVar[float] = 0.0  # and by how much it must change; its sign is the good way,
    relative: ClassVar[bool] = False  # in parts of what it was
    words: ClassVar[Templates] = {}  # of its codes; "title": what its fault is called

    @property
    def name(self) -> str:
        kind = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        raise NotImplementedError(f"{self.name} cannot see")

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        """What to try, in this order."""
        return []

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        if self.target not in before or self.target not in after:
            return False
        change = after[self.target] - before[self.target]
        if self.relative:
            change /= abs(before[self.target]) or 1.0
        return change >= self.gain if self.gain > 0 else change <= self.gain


@dataclass(frozen=True)
class Entry:
    """One row of the repairs table; rows are only ever added.

    Kinds: alarm (seen, and why nothing was done), repair, verdict (with its undo, if any), end (the trial
    was given up), void (rows that a resume from an older checkpoint left behind).
    """

    kind: str
    step: int  # consumed
    rule: str
    level: int
    priority: int
    reason: str  # the code of what was seen; of an entry of version 0.1, an English sentence
    evidence: Mapping[str, Value] = field(default_factory=dict)
    suppressed: tuple[str, ...] = ()  # rules that fired too and had to wait
    action: str = ""  # the code of what was done, or why nothing was; of version 0.1, an English sentence
    action_values: Mapping[str, Value] = field(default_factory=dict)
    changes: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # old and new
    ramp: int = 0  # steps over which the learning rate warms up anew
    back_to: int | None = None  # the step whose weights were taken
    fresh: str | None = None  # parts that got new weights, with commas between
    clips: tuple[str, ...] = ()
    remedy: int | None = None  # which of its rule's, from 0
    verify_at: int | None = None
    verdict: str | None = None  # improved, no effect, harm
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    parent: int | None = None  # seq of the repair that a verdict judges; of a void, of the first voided row
    seq: int = 0  # given by the table

    @property
    def picture(self) -> str:
        """The file in the trial's folder that shows what its attention was like, if it had been seen."""
        return f"attention-{self.seq:04d}.png"

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, row: Mapping[str, Any]) -> "Entry":
        """Also of version 0.1, which knew neither `remedy` by this name nor `action_values`."""
        now = {"remedy" if name == "rung" else name: value for name, value in row.items()}
        now["changes"] = {name: (old, new) for name, (old, new) in row["changes"].items()}
        now |= {name: tuple(row[name]) for name in ("suppressed", "clips")}
        return cls(**{**now, "action_values": row.get("action_values") or {}})


def in_force(entries: Iterable[Entry]) -> list[Entry]:
    """The rows that count: a void takes back every row from its parent on."""
    kept: list[Entry] = []
    for entry in entries:
        if entry.kind == "void":
            assert entry.parent is not None
            first = entry.parent
            kept = [e for e in kept if e.seq < first]
        else:
            kept.append(entry)
    return kept


def settings_at(step: int, start: S, entries: Iterable[Entry]) -> S:
    """The settings in force for the step that follows `step` consumed ones: those of the start, with every
    change of `entries` (in their order, none void) up to there, and the learning rate of a ramp."""
    values: dict[str, float] = {}
    warmth = 1.0
    for entry in entries:
        if entry.step > step:
            break
        values |= {name: new for name, (_, new) in entry.changes.items()}
        if entry.ramp:
            done = min(1.0, (step - entry.step) / entry.ramp)
            warmth = REWARM_FROM + (1.0 - REWARM_FROM) * done
    settings = replace(start, **_typed(start, values))  # type: ignore[type-var]
    if warmth < 1.0:
        rate = settings.learning_rate * warmth  # type: ignore[attr-defined]
        settings = replace(settings, learning_rate=rate)  # type: ignore[type-var]
    return settings


def _typed(settings: Any, values: Mapping[str, float]) -> dict[str, float]:
    return {name: type(getattr(settings, name))(value) for name, value in values.items()}
