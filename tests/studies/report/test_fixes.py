"""Repairs as a person sees them, and what a repaired trial leads to."""

from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest

from model.settings import Settings
from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import offered
from smart_tuner.repair.rule import WAYS, Entry
from smart_tuner.repair.rules import RULES
from smart_tuner.store.storage import open_storage
from studies.file.parameters import Choice
from studies.file.sections import Rules
from studies.file.space import suggest
from studies.file.spec import Spec, load
from studies.report import fixes
from studies.report import summary as report
from studies.report.fixes import explained, records, told
from studies.run import worker
from studies.run.study import StudyError, open_study

REPAIR = Entry(
    "repair",
    175,
    "poor_alignment",
    5,
    8,
    "no_shrink",
    {"diagonal_score": 0.05, "bound": 0.3, "steps": 175, "penalty": 0.5},
    suppressed=("gate_never",),
    action="guide_harder",
    changes={"guided_attention_weight": (0.0, 1.0)},
    ramp=50,
    remedy=0,
    verify_at=275,
    before={"diagonal_score": 0.05},
    seq=1,
)
VERDICT = Entry(
    "verdict",
    275,
    "poor_alignment",
    5,
    8,
    REPAIR.reason,
    action="kept",
    verdict="improved",
    before={"diagonal_score": 0.05},
    after={"diagonal_score": 0.93},
    parent=1,
    seq=2,
)


def test_a_story_tells_what_was_seen_changed_and_came_of_it():
    story = explained([(3, REPAIR), (3, VERDICT)])
    for part in (
        "Trial 3",
        "Step 175",
        "diagonal score 0.05 is below 0.3 after 175 steps",
        "guide the attention harder",
        "guided_attention_weight 0 → 1",
        "warms up over 50 steps",
        "gate_never",
        "judged at step 275",
        "improved",
        "diagonal_score 0.05 → 0.93",
    ):
        assert part in story, part


def test_a_line_and_a_record_hold_old_and_new():
    assert "guided_attention_weight 0 → 1" in told(REPAIR)
    assert "diagonal_score 0.05 → 0.93" in told(VERDICT)
    [first, second] = records([(3, REPAIR), (3, VERDICT)])
    assert (first["trial"], first["kind"], first["changes"]) == (3, "repair", "guided_attention_weight 0 → 1")
    assert (second["kind"], second["done"]) == ("verdict", "improved")


def test_what_the_database_held_as_text_is_told_too():
    odd = Entry.from_record({**VERDICT.record(), "before": {"held_out": "inf"}, "after": {"held_out": 1.5}})
    assert "held_out inf → 1.5" in told(odd)
    assert "held_out inf → 1.5" in explained([(3, odd)])


def test_what_was_trained_anew_is_not_told():
    void = replace(VERDICT, kind="void", parent=2, seq=3)
    assert [row["seq"] for row in records([(3, REPAIR), (3, VERDICT), (3, void)])] == [1]


@pytest.fixture
def study(tmp_path):
    spec = load("quickstart")
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    yield open_study(spec, storage), spec
    storage.engine.dispose()


PARAMS = {
    "learning_rate": 2e-3,
    "batch_size": 16,
    "guided_attention_weight": 0.0,
    "gate_positive_weight": 5.0,
    "p_attention_dropout": 0.1,
}


def finished(study, spec, value=6.0, params=PARAMS, **attributes):
    study.enqueue_trial(params)
    trial = study.ask()
    suggest(trial, spec)
    for name, content in attributes.items():
        trial.set_user_attr(name, content)
    study.tell(trial, value)
    return trial.number


def waiting(study):
    return [t for t in study.trials if t.state == optuna.trial.TrialState.WAITING]


def test_repaired_values_are_tried_by_a_fresh_trial_within_the_search_space(study):
    study, spec = study
    number = finished(study, spec, repairs=1, effective={"guided_attention_weight": 9.1, "adam_eps": 1e-8})
    worker._enqueue_fresh(study, spec, number)
    [fresh] = waiting(study)
    assert fresh.user_attrs == {"fresh_of": number}
    assert fresh.system_attrs["fixed_params"] == PARAMS | {"guided_attention_weight": 4.0}
    trial = study.ask()
    drawn = suggest(trial, spec)
    assert drawn["guided_attention_weight"] == 4.0
    assert 0.1 <= drawn["guided_attention_sigma"] <= 0.4  # which the parent never drew


@pytest.mark.parametrize("effective", [{}, {"adam_eps": 1e-8}, {"guided_attention_weight": 0.1}])
def test_what_the_search_would_not_see_needs_no_fresh_trial(study, effective):
    study, spec = study
    worker._enqueue_fresh(study, spec, finished(study, spec, repairs=1, effective=effective))
    assert waiting(study) == []


def test_fresh_trials_take_a_fifth_of_the_budget_at_most(study):
    study, spec = study
    for rate in (1e-3, 2e-3, 3e-3, 4e-3):
        number = finished(study, spec, params=PARAMS | {"learning_rate": rate}, effective={"batch_size": 8})
        worker._enqueue_fresh(study, spec, number)
        trial = study.ask()
        suggest(trial, spec)
        study.tell(trial, 5.0)
    fresh = [t for t in study.trials if "fresh_of" in t.user_attrs]
    assert len(fresh) == 1  # of 8 trials: two would be a quarter


def test_what_is_among_no_choices_of_the_space_is_not_tried(study):
    """The nearest choice may be the one that failed."""
    study, spec = study
    spec.space["batch_size"] = Choice(type="categorical", choices=(8, 16, 32))
    worker._enqueue_fresh(study, spec, finished(study, spec, repairs=1, effective={"batch_size": 28}))
    assert waiting(study) == []
    worker._enqueue_fresh(study, spec, finished(study, spec, repairs=1, effective={"batch_size": 32}))
    assert len(waiting(study)) == 1


def test_three_bests_are_told_apart(study):
    study, spec = study
    names = ("value", "seconds", "aligned_share", "failure_share", "shortest", "longest")
    voice = {"measures": [{"step": 100, **dict.fromkeys(names, 1.0)}]}
    finished(study, spec, 7.0, **voice)
    finished(study, spec, 5.0, **voice, repairs=2)
    finished(study, spec, 6.0, **voice, fresh_of=1)
    finished(study, spec, 4.0)  # known from elsewhere
    bests = report.three_bests(study)
    assert {kind: trial.number for kind, trial in bests.items()} == {
        "unassisted": 2,
        "assisted": 1,
        "verified_fresh": 2,
    }
    assert report.best_record(study, spec, bests["assisted"])["value_verified_fresh"] == 6.0


def test_a_resume_under_other_rules_is_refused(study):
    study, spec = study
    data = spec.model_dump(mode="json")
    data["rules"]["thresholds"] = {"poor_alignment": {"min_diagonal_score": 0.4}}
    changed = Spec.parse(data, "test")
    with pytest.raises(StudyError, match=r"rules\.thresholds"):
        open_study(changed, study._storage)
    study.set_user_attr("policy", "the hash of an older program")
    with pytest.raises(StudyError, match="rules that repair"):
        open_study(spec, study._storage)


def test_thresholds_of_a_study_reach_its_rules():
    data = load("quickstart").model_dump(mode="json")
    data["rules"]["thresholds"] = {"poor_alignment": {"min_diagonal_score": 0.4, "deadline": 500}}
    rules = {rule.name: rule for rule in Spec.parse(data, "test").rules.chosen()}
    assert (rules["poor_alignment"].min_diagonal_score, rules["poor_alignment"].deadline) == (0.4, 500)
    assert len(rules) == len(RULES)
    assert load("quickstart").without_fixes().rules.chosen() == ()
    assert load("quickstart").without_fixes().name == "quickstart-no-fixes"


def test_the_page_of_rules_is_made_from_the_rules():
    page = (Path(__file__).parents[3] / "docs" / "rules.md").read_text("utf-8")
    settings = asdict(Settings())
    made = fixes.rules_page(RULES, offered(SIGNALS, settings, WAYS), settings, Rules().advises(RULES))
    assert made in page, "run: run_study.py rules > …, and put it into docs/rules.md"


def test_a_rule_that_the_objective_cannot_serve_is_said_to_be_idle():
    page = fixes.rules_page(RULES, offered({"held_out"}, {"learning_rate"}, ()), {"learning_rate": 0.1})
    pages = {part.split("\n")[0]: part for part in page.split("### ")}
    assert "idle: needs gate_accuracy, gate_late, which this objective" in pages["gate_soon"]
    assert "idle" not in pages["plateau"]


def test_a_note_says_in_a_table_what_was_changed_why_and_what_came_of_it():
    shown = fixes.note([REPAIR, VERDICT], "")
    assert "| 175 | poor_alignment | diagonal score 0.05 is below 0.3 after 175 steps, and" in shown
    assert "guided_attention_weight 0 → 1 | improved |" in shown


def test_a_note_stays_short_and_says_what_it_leaves_out():
    many = [replace(REPAIR, step=100 * number, seq=number, reason="б|в" * 99) for number in range(1, 30)]
    shown = fixes.note(many, "step 3000: " + "behind " * 99)
    assert len(shown.encode()) <= 1000
    rows = [line for line in shown.splitlines() if line.startswith("| 1")]
    assert all(line.count("|") == 6 for line in rows)
    assert "more: run_study.py fixes" in shown


CONTROL = replace(REPAIR, kind="alarm", action="control", seq=1)


def test_the_balance_counts_what_runs_said_of_repairs_and_sets_controls_beside():
    eased = replace(VERDICT, verdict="eased", seq=2)
    final = replace(VERDICT, verdict="harm", seq=3)
    rows = [(3, REPAIR), (3, eased), (3, final), (4, REPAIR), (4, VERDICT), (5, CONTROL), (6, CONTROL)]
    told = fixes.balance(rows, {3: 8.0, 4: 6.0, 5: 9.0, 7: 1.0})
    assert told.splitlines() == [
        "2 repairs in 2 trials; by what the runs were worth since: 1 improved, 0 no effect, 1 harm, 0 "
        "unknown.",
        "Trials repaired: 2 ended, with a median of 7.",
        "Trials left alone on purpose (controls): 1 ended, with a median of 9.",
    ]
    assert fixes.balance([(1, replace(CONTROL, action="advised"))], {1: 2.0}) == ""
