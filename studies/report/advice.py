"""What a person could try where the rules gave up: made from what the study itself has shown."""

from collections import Counter
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.rule import Entry
from smart_tuner.store import attributes
from studies.report.facts import Facts, entries

FEWEST = 2  # trials on each side, before a value is said to tell them apart
MOST_CLIPS = 20


def advice(study: optuna.Study, rule: str) -> Facts | None:
    """Why trials that `rule` ended differ from those that completed, and what helped others.

    None where no trial's repairs say that it ended one.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [t for t in trials if t.state.is_finished()]
    bad = [t for t in finished if attributes.ended_by(t) == rule]
    good = [t for t in finished if t.state == TrialState.COMPLETE]
    rows = entries(study)
    mine = [(number, entry) for number, entry in rows if entry.rule == rule]
    last = next((entry for _, entry in reversed(mine) if entry.kind == "end"), None)
    if last is None:
        return None
    verdicts = Counter(entry.verdict for _, entry in mine if entry.kind == "verdict")
    clips = list(dict.fromkeys(clip for _, entry in mine for clip in entry.clips))
    names = {"improved": "improved", "no_effect": "no effect", "harm": "harm"}
    return {
        "rule": rule,
        "ended": len(bad),
        "finished": len(finished),
        "reason": last.reason,
        "evidence": dict(last.evidence),
        "tried": {name: verdicts[verdict] for name, verdict in names.items()},
        "split": _split(bad, good),
        "helped": _helped(mine),
        "clips": clips[:MOST_CLIPS],
        "batch": _batch(bad) if rule == "out_of_memory" else None,
        "skipped": attributes.skipped(study) if rule in ("faulty_clips", "poor_alignment") else None,
        "command": f"run_study.py fixes {study.study_name} --explain",
    }


def _split(bad: list[FrozenTrial], good: list[FrozenTrial]) -> Facts | None:
    """The searched value whose range tells bad trials from good ones, by the widest gap."""
    found = []
    for name in dict.fromkeys(name for trial in bad for name in trial.params):
        worse, better = _of(bad, name), _of(good, name)
        if len(worse) < FEWEST or len(better) < FEWEST:
            continue
        spread = max(worse + better) - min(worse + better)
        sides = {"above": (min(worse), max(better)), "below": (max(worse), min(better))}
        for side, (bad_bound, good_bound) in sides.items():
            gap = bad_bound - good_bound if side == "above" else good_bound - bad_bound
            if gap > 0:
                bounds = {"bad_bound": bad_bound, "good_bound": good_bound}
                counts = {"bad": len(worse), "good": len(better)}
                found.append((gap / spread, {"name": name, "side": side, **bounds, **counts}))
    return max(found, key=lambda one: one[0])[1] if found else None


def _of(trials: list[FrozenTrial], name: str) -> list[float]:
    values = (trial.params.get(name) for trial in trials)
    return [float(value) for value in values if isinstance(value, int | float)]


def _helped(rows: list[tuple[int, Entry]]) -> dict[str, Any] | None:
    """The changes of the newest repair by the same rule that helped another trial."""
    made = {(number, entry.seq): entry for number, entry in rows if entry.kind == "repair"}
    for number, entry in reversed(rows):
        repair = made.get((number, entry.parent or 0))
        if entry.kind == "verdict" and entry.verdict == "improved" and repair is not None and repair.changes:
            return dict(repair.changes)
    return None


def _batch(bad: list[FrozenTrial]) -> Facts | None:
    if not bad:
        return None
    settings = attributes.settings(bad[-1]) | attributes.effective(bad[-1])
    return {"batch": settings.get("batch_size"), "parts": settings.get("micro_batches")}
