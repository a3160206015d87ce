"""Rates, intervals and which faults count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.case import Case
from benchmarks.faults.figures import Figures, gap, hurts, most_of_none, share, value_at
from benchmarks.faults.language import Shape

HITS = st.dictionaries(st.text(max_size=3), st.lists(st.booleans(), min_size=1, max_size=5), min_size=1)


@given(HITS)
def test_a_share_lies_within_its_interval(by_case):
    found = share(by_case)
    assert 0 <= found.low <= found.rate + 1e-9 and found.rate <= found.high + 1e-9 <= 1 + 1e-8


@given(HITS)
def test_nothing_is_better_than_itself(by_case):
    assert gap(by_case, by_case) == (0.0, 0.0, 0.0)


def test_a_gap_on_every_fault_excludes_zero():
    cases = [f"F{i}" for i in range(10)]
    much, _, _ = gap(dict.fromkeys(cases, [True] * 5), dict.fromkeys(cases, [False] * 5))
    low = gap({c: [True] * 4 + [i % 2 == 0] for i, c in enumerate(cases)}, dict.fromkeys(cases, [False] * 5))
    assert much == 1.0
    assert low[1] > 0.8


def test_none_of_300_bounds_the_rate_by_one_percent():
    assert most_of_none(300) == pytest.approx(0.01, abs=2e-4)


def test_a_fault_that_changes_nothing_does_not_hurt():
    healthy = np.random.default_rng(0).normal(10, 1, 25).tolist()
    p, d = hurts(healthy[:5], healthy)
    assert p > 0.05 or d < 0.5
    p, d = hurts([v + 5 for v in healthy[:5]], healthy)
    assert p < 0.05 and d > 2


def test_a_run_that_was_ended_early_is_as_bad_as_can_be():
    run = {"state": "PRUNED", "consumed": 90, "curve": [[60, 12.0]]}
    assert value_at(run, 240, 27.0) == 27.0
    assert value_at(run | {"state": "COMPLETE"}, 240, 27.0) == 12.0
    assert value_at(run, 60, 27.0) == 12.0


def run(value, rows=(), state="COMPLETE", step=240):
    return {"state": state, "consumed": step, "curve": [[step, value]], "rows": list(rows)}


def case(name, **more):
    return Case(name, "", {}, Shape(), deadline=100, **more)


def figures(healthy, faulty, **more):
    cases = {"H01": case("H01"), "F01": case("F01", rules=frozenset({"divergence"}), **more)}
    results = [{"case": "H01", "seed": i, "arms": {"B6": arm}} for i, arm in enumerate(healthy)]
    results += [{"case": "F01", "seed": i, "arms": arms} for i, arms in enumerate(faulty)]
    return Figures(results, cases, 240, 312)


SOUND = [run(10 + i / 10) for i in range(20)]
REPAIR = {"kind": "repair", "step": 50, "rule": "divergence"}


def test_a_repaired_fault_is_detected_rightly_and_back_in_the_band():
    arms = {"B0": run(25.0), "B6": run(11.0, [REPAIR], step=312)}
    found = figures(SOUND, [arms] * 5)
    assert found.counting == ["F01"]
    assert (found.recall().rate, found.right_class().rate) == (1.0, 1.0)
    assert share(found.repaired("B6")).rate == 1.0
    assert share(found.repaired("B0")).rate == 0.0


@pytest.mark.parametrize(
    ("row", "detected", "right"),
    [
        (REPAIR | {"step": 101}, False, True),
        (REPAIR | {"rule": "plateau"}, True, False),
        (REPAIR | {"kind": "alarm"}, False, False),
        ({"kind": "alarm", "rule": "non_finite"}, True, False),
    ],
)
def test_late_wrong_or_mere_alarms(row, detected, right):
    found = figures(SOUND, [{"B0": run(25.0), "B6": run(25.0, [row])}] * 5)
    [result, *_] = found.of("F01")
    assert (found.detected(result), found.rightly(result)) == (detected, right)


@pytest.mark.parametrize(
    ("repairable", "state", "shares"),
    [(False, "FAIL", (5, 5)), (False, "COMPLETE", (0, 5)), (True, "FAIL", (0, 0))],
)
def test_what_cannot_be_repaired_should_be_ended(repairable, state, shares):
    arms = {"B0": run(25.0), "B6": run(25.0, [REPAIR], state)}
    found = figures(SOUND, [arms] * 5, repairable=repairable).ended()
    assert (found.hits, found.of) == shares


def test_a_healthy_run_that_a_rule_spoils_is_touched_and_harmed():
    found = figures([*SOUND, run(20.0, [REPAIR])], [])
    found.healthy[-1]["arms"]["B0"] = run(10.0)
    assert [r["seed"] for r in found.touched()] == [20]
    assert [r["seed"] for r in found.harmed()] == [20]
