"""The words of a repair: what a rule sees, what it would do, and the record of what was done."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from smart_tuner.repair.health import Health, renamed

ASKED = ("step", "probe", "validation")  # when a rule may be asked, by its tier
WAYS = ("roll_back", "reinitialise", "exclude")  # what a run may let be done to it, beside other settings
Templates = Mapping[str, str | tuple[str, str]]  # by code: in English alone, or in English and Russian
Value = float | str  # what a sentence is filled with: a number or a short text, such as names of clips

# After a jump of a loss weight Adam's step is up to five times the learning rate (beta2 0.999); warmed up
# anew from a fifth it stays near one.
REWARM_FROM = 0.2


class Hyperparameters(Mapping[str, Any]):
    """A training's settings, also as attributes. One that the training does not have reads as NaN there."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._values.get(name, math.nan)

    def __repr__(self) -> str:
        return f"Hyperparameters({self._values})"


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
    back_to: str | None = None  # "good", "milestone" or "start"
    fresh: str | None = None  # the part of the network that gets new weights
    exclude: bool = False  # leave the alarm's clips out of training from now on
    renew: bool = False  # give the alarm's parts of the network new weights
    values: Mapping[str, Value] = field(default_factory=dict)  # that the sentence is filled with

    @property
    def ways(self) -> set[str]:
        """What a run must offer for it."""
        needed = (self.back_to is not None, self.fresh is not None or self.renew, self.exclude)
        return {way for way, it in zip(WAYS, needed, strict=True) if it}


@dataclass(frozen=True)
class Rule:
    """A rule only sees and proposes; AutoFix acts. Thresholds are its fields, so that a study may set them.

    Lower levels are nearer to the cause, and silence the higher ones; priority breaks ties.
    """

    level: ClassVar[int]
    priority: ClassVar[int]
    tier: ClassVar[str] = "validation"  # when it is asked; also "event", which AutoFix sees by itself
    votes: ClassVar[tuple[int, int]] = (3, 4)  # fires on so many of so many askings
    needs: ClassVar[tuple[str, ...]] = ()  # measures, settings and ways without which it is idle
    max_remedies: ClassVar[int] = 3  # changes that it may make in a trial
    gives_up: ClassVar[str | None] = "PRUNED"  # the trial's end; None: only reported
    # The measure whose change says that the fault is gone; None: it is a setting, and gone with it.
    target: ClassVar[str | None] = "unweighted_loss"
    gain: ClassVar[float] = 0.0  # how much it must change; its sign is the good way,
    relative: ClassVar[bool] = False  # in parts of what it was
    told_by: ClassVar[tuple[str, ...]] = ("value", "held_out")  # what says whether a repair was worth it
    since: ClassVar[int] = 4  # the version of the policy with which it came
    # Sound runs look alike: it acts only on a run that does not do well, also where nothing is searched.
    hesitates: ClassVar[bool] = False
    only_lost: ClassVar[bool] = False  # it acts only on a run that is worth nothing
    advises: ClassVar[bool] = False  # it only says what it would do, until a study lets it act
    words: ClassVar[Templates] = {}  # of its codes; "title": what its fault is called

    @property
    def name(self) -> str:
        kind = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")

    def missing(self, offered: Collection[str]) -> list[str]:
        """What it needs and a run does not offer; a name that ends in "/" stands for all that begin so."""
        return [
            need
            for need in self.needs
            if need not in offered
            and not (need[-1] == "/" and any(name.startswith(need) for name in offered))
        ]

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        raise NotImplementedError(f"{self.name} cannot see")

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        """What to try, in this order."""
        return []

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        """Whether the fault is gone; what that was worth, the run's own measure says (outcome.py)."""
        if self.target is None:
            return True
        if self.target not in before or self.target not in after:
            return False
        change = after[self.target] - before[self.target]
        if self.relative:
            change /= abs(before[self.target]) or 1.0
        return change >= self.gain if self.gain > 0 else change <= self.gain


@dataclass(frozen=True)
class Restraint:
    """Where rules only tell what they see. Without it every rule acts, on every setting.

    Args:
        searched: settings that a search draws; it judges them, and no repair changes them.
        advises: names of the rules that only say what they would do.
        medians: by step, the median of what the study's other trials were measured at; while a trial is no
            worse, it is left to the rules of the lowest levels.
        peers: by measure and step, median and spread of the study's sound trials: rules of the higher levels
            act on what lies outside, or, where there are too few, on a run that does not do well by itself.
            None: neither is asked, and rules judge their repairs by themselves, as in studies of before.
        control: every rule that could do without only tells, so that the study sees what becomes of it.
    """

    searched: frozenset[str] = frozenset()
    advises: frozenset[str] = frozenset()
    medians: Mapping[int, float] = field(default_factory=dict)
    peers: Mapping[str, Mapping[int, tuple[float, float]]] | None = field(default_factory=dict)
    control: bool = False


UNRESTRAINED = Restraint(peers=None)


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
    remedy: int | None = None  # which of the rule's remedies it is, from 0
    verify_at: int | None = None
    verdict: str | None = None  # improved, no effect, harm, unknown; eased: the fault is gone, and these come
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
        """Also of version 0.1, which had another name for `remedy`, and no `action_values`."""
        now = {{"rung": "remedy"}.get(name, name): value for name, value in row.items()}
        now["changes"] = {name: (old, new) for name, (old, new) in row["changes"].items()}
        now |= {name: tuple(row[name]) for name in ("suppressed", "clips")}
        now |= {name: renamed(row[name]) for name in ("evidence", "before", "after")}
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


def settings_at(
    step: int, start: Mapping[str, float], entries: Iterable[Entry], least_rate: float = 0.0
) -> Hyperparameters:
    """The settings in force for the step that follows `step` consumed ones: those of the start, with every
    change of `entries` (in their order, none void) up to there, and the learning rate of a ramp, which does
    not begin below `least_rate`."""
    values, warmth = dict(start), 1.0
    for entry in entries:
        if entry.step > step:
            break
        values |= {name: new for name, (_, new) in entry.changes.items()}
        if entry.ramp:
            done = min(1.0, (step - entry.step) / entry.ramp)
            warmth = REWARM_FROM + (1.0 - REWARM_FROM) * done
    if warmth < 1.0 and "learning_rate" in values:
        values["learning_rate"] = max(least_rate, warmth * values["learning_rate"])
    return Hyperparameters(values)
