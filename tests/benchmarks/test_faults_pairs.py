"""A run that rules leave alone is trained once, and tells what any rules would do."""

from dataclasses import replace

import pytest
import torch

from benchmarks.faults.case import all_cases
from benchmarks.faults.course import ADVISING, Course, MemoryLedger, rows
from benchmarks.faults.paired import Ends, Pairs, interval, is_told_before, mean
from benchmarks.faults.pairs import Pair
from benchmarks.faults.stage import SPEECH, TINY, prepare
from benchmarks.faults.traces import acts, told
from smart_tuner.repair.rule import Restraint
from smart_tuner.repair.rules import RULES

CASES = all_cases()
SHORT = replace(TINY, planned=120)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    prepare()


def pair(tmp_path, case, seed=10, half="held_out"):
    (place := tmp_path / f"{case}-{seed}").mkdir()
    return Pair(SHORT, CASES[case], half, 0, seed, place, tmp_path / "traces")


@pytest.mark.parametrize("case", ["F05", "F12", "F20", "F24"])
def test_what_a_trace_says_is_what_rules_do(tmp_path, case):
    mine = pair(tmp_path, case)
    entries, _ = told(mine.trace(), SHORT, RULES, Restraint(advises=ADVISING))
    act = acts(entries)
    assert act is not None
    ours = mine.arms()["B6"]
    first = next(i for i, row in enumerate(ours["rows"]) if row["kind"] in ("repair", "end"))
    assert rows(entries) == ours["rows"][: first + 1]


@pytest.mark.parametrize("case", ["F01", "F16"])
def test_a_trace_knows_what_a_run_was_worth_when_a_rule_asked(tmp_path, case):
    mine, restraint = pair(tmp_path, case), Restraint(frozenset({"batch_size"}), ADVISING)
    entries, is_sure = told(mine.trace(), SHORT, RULES, restraint)
    assert is_sure
    assert "doing_well" in [entry.action for entry in entries]
    course = Course(SHORT, mine.setup, 0, mine.setup.training(10), tmp_path, MemoryLedger())
    course.watch(RULES, restraint).go(SHORT.planned)
    assert rows(entries) == rows(course.ledger.entries)


def test_a_trace_that_was_not_asked_where_a_rule_asks_is_not_sure(tmp_path):
    trace = dict(pair(tmp_path, "F01").trace())
    trace["events"] = [e for e in trace["events"] if e[0] != "worth" or e[2] < SHORT.planned // 2]
    entries, is_sure = told(trace, SHORT, RULES, Restraint(advises=ADVISING))
    assert entries and not is_sure


def test_a_run_that_no_rule_touches_is_trained_once_and_found_again(tmp_path):
    arms = pair(tmp_path, "H13", seed=0).arms()
    assert {arm: run.get("same_as") for arm, run in arms.items()} == {"B0": None, "B6": "B0", "S6": "B0"}
    again = pair(tmp_path / "traces", "H13", seed=1)
    assert again.setup.settings != CASES["H13"].setup(SHORT, "held_out", 0, 0).settings
    course = Course(
        SHORT,
        mine := CASES["H13"].setup(SHORT, "held_out", 0, 0),
        0,
        mine.training(0),
        tmp_path,
        MemoryLedger(),
    )
    course.watch(()).go(SHORT.planned)
    assert arms["B0"]["curve"][-1][1] == round(course.curve[-1].value, 4)  # watching changed nothing


def test_what_rules_would_do_is_told_without_training_it(tmp_path):
    [told_only] = [pair(tmp_path, "F20").arms(trained=False)["B6"]]
    assert (told_only["state"], told_only["curve"]) == ("TOLD", [])
    assert told_only["rows"][-1]["rule"] == "narrow_batch"
    row = {
        "case": "F20",
        "half": "held_out",
        "severity": 0,
        "seed": 10,
        "arms": {"B0": run(20.0), "B6": told_only},
    }
    [shown] = Pairs(TINY, CASES, [*BASES, row]).faults()
    assert (shown["by"], shown["right"], shown["back"], shown["harm"]) == ("narrow_batch", True, None, None)


def test_a_search_is_left_what_it_draws(tmp_path):
    """Guidance is searched, and this draw has none; alone, the run starts over with it."""
    seed = next(
        s
        for s in range(99)
        if CASES["H13"].setup(SHORT, "held_out", 0, s).settings.guided_attention_weight == 0
    )
    arms = pair(tmp_path, "H13", seed).arms()
    assert arms["S6"].get("same_as") == "B0"


def run(value, loss=1.0, rows=(), state="COMPLETE", consumed=240):
    curve = [[step, value, 0.0, 1.0, 1.0, 1.0, loss] for step in (60, 240, 312)]
    return {"state": state, "consumed": consumed, "curve": curve, "rows": list(rows)}


REPAIR = {"kind": "repair", "rule": "gate_soon", "step": 80, "action": "x"}
ALARM = {"kind": "alarm", "rule": "faulty_clips", "step": 70, "action": "advised"}
BASES = [
    {
        "case": "H01",
        "half": "held_out",
        "severity": 0,
        "seed": s,
        "arms": {"B0": run(10.0 + s), "B6": {"same_as": "B0"}},
    }
    for s in (0, 1)
]


def drawn(on, off=10.0, worst=27.0):
    return {
        "case": "H13",
        "half": "held_out",
        "severity": 0,
        "seed": 1,
        "arms": {"B0": run(off), "B6": on, "S6": {"same_as": "B0", "rows": [ALARM]}},
    }


def test_a_healthy_run_that_was_touched_counts_and_one_that_comes_to_nothing_is_none():
    results = [
        *BASES,
        drawn(run(11.5, rows=[REPAIR])),
        drawn(run(10.0, 1.04, rows=[REPAIR])),
        drawn(run(20.0, rows=[REPAIR]), off=27.0),
    ]
    alone, searched = Pairs(TINY, CASES, results).healthy()
    assert alone["touched"].startswith("2 of 4")
    assert (alone["made worse"], alone["by"]) == (1, "gate_soon")
    assert searched["touched"].startswith("0 of 2")
    assert searched["only told of"] == 2


@pytest.mark.parametrize(
    ("off", "on", "hurts", "back", "harm"),
    [
        (run(20.0), run(10.9, rows=[REPAIR]), True, True, False),
        (run(20.0), run(15.0, rows=[REPAIR]), True, False, False),
        (run(11.4), run(13.0, rows=[REPAIR]), False, False, True),
        (run(10.5, 1.2), run(10.5, 1.0, rows=[REPAIR]), True, True, False),
        (run(12.0, state="FAIL", consumed=70), run(10.5, rows=[REPAIR]), True, True, False),
    ],
)
def test_a_fault_hurts_is_seen_and_named_and_its_run_comes_back(off, on, hurts, back, harm):
    fault = {"case": "F17", "half": "held_out", "severity": 0, "seed": 10, "arms": {"B0": off, "B6": on}}
    [row] = Pairs(TINY, CASES, [*BASES, fault, drawn(run(27.0), off=27.0)]).faults()
    assert (row["hurts"], row["back"], row["harm"]) == (hurts, back, harm)
    assert (row["seen at"], row["by"], row["right"]) == (80, "gate_soon", True)


def test_what_was_only_told_of_is_seen_too_but_not_too_late():
    late = {**ALARM, "step": 300}
    for told_rows, seen in (([ALARM], 70), ([late], "")):
        fault = {
            "case": "F10",
            "half": "held_out",
            "severity": 0,
            "seed": 10,
            "arms": {"B0": run(20.0), "B6": run(20.0, rows=told_rows)},
        }
        [row] = Pairs(TINY, CASES, [*BASES, fault]).faults()
        assert row["seen at"] == seen


@pytest.mark.parametrize(
    ("case", "before"), [("F47", True), ("F74", True), ("F77", True), ("F54", True), ("F68", False)]
)
def test_what_data_check_and_unusual_settings_tell_is_known_before_a_step(case, before):
    assert is_told_before(all_cases(SPEECH)[case], "held_out", 0) == before


def test_a_share_has_its_interval_and_a_mean_too():
    assert interval(0, 0) == "not measured"
    assert interval(0, 100) == "0 of 100, 0% (0% to 4%)"
    assert mean([1.0] * 5) == "+1.00 (+1.00 to +1.00)"
    assert Ends(10.0, 1.0).is_worse(Ends(8.9, 1.0))
    assert not Ends(10.0, 1.0).is_worse(Ends(9.1, 0.96))
    assert Ends(9.1, 1.1).is_worse(Ends(10.0, 1.0))
    assert not Ends(8.9, 1.1).is_worse(Ends(10.0, 1.0))  # as with fewer frames a step
