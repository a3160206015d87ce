import copy
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.settings import Settings
from smart_tuner.repair.rule import REWARM_FROM, Entry, Hyperparameters, Rule, in_force, settings_at

START = asdict(Settings())


def repair(step, seq=0, ramp=0, kind="repair", **changes):
    return Entry(kind, step, "poor_alignment", 5, 8, "seen", changes=changes, ramp=ramp, seq=seq)


def test_settings_are_those_of_the_start_until_a_repair():
    entries = [repair(100, guided_attention_weight=(1.0, 2.0)), repair(200, batch_size=(32, 64))]
    assert settings_at(99, START, entries) == START
    assert settings_at(100, START, entries) == START | {"guided_attention_weight": 2.0}
    assert settings_at(200, START, entries) == START | {"guided_attention_weight": 2.0, "batch_size": 64}


def test_a_taken_back_repair_leaves_nothing():
    entries = [repair(100, adam_eps=(1e-6, 1e-8)), repair(150, kind="verdict", adam_eps=(1e-8, 1e-6))]
    assert settings_at(150, START, entries) == START


@pytest.mark.parametrize(("step", "warmth"), [(100, REWARM_FROM), (125, 0.6), (150, 1.0), (999, 1.0)])
def test_the_learning_rate_warms_up_anew_after_a_jump(step, warmth):
    entries = [repair(100, ramp=50, gate_weight=(1.0, 10.0))]
    found = settings_at(step, START, entries)
    assert found.learning_rate == pytest.approx(START["learning_rate"] * warmth)
    assert found.gate_weight == 10.0


def test_a_changed_learning_rate_is_what_warms_up():
    entries = [repair(100, ramp=50, learning_rate=(1e-3, 5e-4))]
    assert settings_at(100, START, entries).learning_rate == pytest.approx(5e-4 * REWARM_FROM)
    assert settings_at(150, START, entries).learning_rate == 5e-4


numbers = st.floats(0.0, 50.0)


@given(st.lists(st.tuples(st.integers(1, 20), numbers), max_size=8), st.integers(0, 200))
def test_settings_at_a_step_are_the_newest_change_before_it(changes, asked):
    entries, step, expected, value = [], 0, START["gate_weight"], START["gate_weight"]
    for wait, new in changes:
        step += wait
        entries.append(repair(step, gate_weight=(value, new)))
        value = new
        if step <= asked:
            expected = new
    assert settings_at(asked, START, entries).gate_weight == expected


@given(st.lists(st.tuples(st.sampled_from(["repair", "alarm", "void"]), st.integers(0, 9)), max_size=12))
def test_what_is_in_force_is_what_no_void_takes_back(kinds):
    rows, model = [], []
    for seq, (kind, back) in enumerate(kinds, 1):
        first = max(1, seq - 1 - back)
        row = replace(repair(seq, seq), kind=kind, parent=first if kind == "void" else None)
        rows.append(row)
        model = [r for r in model if r.seq < first] if kind == "void" else [*model, row]
    assert in_force(rows) == model


@pytest.mark.parametrize("old", [{"mel": 1.0, "loss": 2.0}, {"best_mel": 0.5}, {}])
def test_a_row_of_an_older_version_is_read_by_the_names_of_now(old):
    row = replace(repair(5), evidence=old, before=old, after=old, remedy=2).record()
    row["rung"] = row.pop("remedy")
    new = {name.replace("mel", "unweighted_loss"): value for name, value in old.items()}
    found = Entry.from_record(row)
    assert (found.remedy, found.evidence, found.before, found.after) == (2, new, new, new)


def test_settings_are_numbers_by_name_and_unknown_ones_are_no_number():
    settings = Hyperparameters({"learning_rate": 0.1, "batch_size": 4})
    assert settings == {"learning_rate": 0.1, "batch_size": 4}
    assert settings.batch_size == settings["batch_size"] == 4
    assert math.isnan(settings.gate_weight)
    assert not hasattr(settings, "__wrapped__")
    assert copy.deepcopy(settings) == settings
    with pytest.raises(AttributeError):
        settings.batch_size = 8


@pytest.mark.parametrize(
    ("offered", "missing"),
    [
        ((), ["held_out", "update/"]),
        (("held_out", "update"), ["update/"]),
        (("held_out", "update/"), []),
        (("held_out", "update/head"), []),
        (("value", "update/head"), ["held_out"]),
    ],
)
def test_a_rule_says_what_it_needs_and_a_run_does_not_offer(offered, missing):
    class Needy(Rule):
        needs = ("held_out", "update/")

    assert Needy().missing(offered) == missing


def test_an_entry_survives_its_record():
    entry = replace(repair(5, 3, gate_weight=(1.0, 2.0)), suppressed=("gate_never",), clips=("a", "b"))
    assert Entry.from_record(entry.record()) == entry
