"""Jobs are claimed once, survive their workers, and are told in one file from which all else is made."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from optuna.trial import TrialState

from benchmarks.faults import jobs
from benchmarks.faults.case import all_cases
from benchmarks.faults.jobs import Job
from benchmarks.faults.proof import HERE
from benchmarks.faults.proof import main as proof
from benchmarks.faults.report import (
    add,
    export,
    figures,
    known,
    known_without_rules,
    printed,
    read,
    study_rows,
    watching_row,
)
from benchmarks.faults.search import FAULTY, MILD, MODES, MOST_TRIALS, TRIALS, best_at, faults_of
from benchmarks.faults.stage import SPEECH, TINY

CASES = all_cases()
WANTED = [Job("F07", "held_out", 0, 10), Job("H01", "held_out", 0, 100)]


@pytest.fixture
def study(tmp_path):
    study = jobs.open_study(TINY, f"sqlite:///{tmp_path}/faults.db")
    yield study
    study._storage._backend.close()


def test_the_full_run_has_300_healthy_jobs_and_five_seeds_of_every_held_out_severity():
    found = jobs.jobs(list(CASES.values()), "held_out", TINY)
    healthy = [job for job in found if job.case.startswith("H")]
    drawn = [job for job in healthy if CASES[job.case].drawn]
    assert len(drawn) == len(healthy) - len(drawn) == 300
    severities = sum(len(c.severities["held_out"]) for c in CASES.values() if c.is_fault and not c.missing)
    assert len(found) - len(healthy) == 5 * severities
    assert len(set(found)) == len(found)


def test_halves_share_no_seed():
    recipes = [case for case in CASES.values() if not case.drawn]
    seeds = {half: {job.seed for job in jobs.jobs(recipes, half, TINY)} for half in jobs.SEEDS}
    assert not seeds["development"] & seeds["held_out"]


def test_on_speech_a_kind_of_fault_is_of_one_half_alone():
    cases = all_cases(SPEECH)
    kinds = {half: {job.case for job in jobs.jobs(list(cases.values()), half, SPEECH)} for half in jobs.SEEDS}
    assert kinds["development"] & kinds["held_out"] == {"H01", "H13"}
    expressed = {case.name for case in cases.values() if case.is_fault and not case.missing}
    assert expressed <= kinds["development"] | kinds["held_out"]
    own = expressed - {f"F{i:02d}" for i in range(1, 29)}
    assert len(own) >= 12  # kinds that people report of recordings and recipes


def test_the_first_jobs_cover_every_case():
    found = jobs.jobs(list(CASES.values()), "held_out", TINY)
    assert {job.case for job in found[: len(found) // 4]} == {c.name for c in CASES.values() if not c.missing}


def test_a_job_is_enqueued_once_and_claimed_once(study):
    jobs.enqueue(study, WANTED)
    jobs.enqueue(study, WANTED)
    assert [job for _, job in jobs.claimed(study)] == WANTED
    jobs.enqueue(study, WANTED)  # under way
    assert list(jobs.claimed(study)) == []


def test_a_job_whose_worker_died_is_done_again(study):
    jobs.enqueue(study, WANTED)
    trial, _ = next(jobs.claimed(study))
    jobs.recover(study)
    assert study.trials[0].state == TrialState.RUNNING  # this process lives
    trial.set_user_attr(jobs.WORKER, f"{study.trials[0].user_attrs[jobs.WORKER].split(':')[0]}:999999999")
    jobs.recover(study)
    assert study.trials[0].state == TrialState.FAIL
    jobs.enqueue(study, WANTED)
    assert {job for _, job in jobs.claimed(study)} == set(WANTED)


def test_other_rules_or_cases_are_another_study(monkeypatch):
    before = jobs.identity(TINY)
    monkeypatch.setattr(jobs, "RULES", jobs.RULES[:-1])
    assert jobs.identity(TINY) != before


def run(value, rows=(), state="COMPLETE", step=240):
    curve = [[step, value, 0.0, 0.9, 1.0, 1.0, 1.0]]
    return {"state": state, "consumed": step, "curve": curve, "rows": list(rows), "weights": "abc"}


REPAIR = {"kind": "repair", "step": 60, "rule": "oversized_steps", "reason": "too large", "action": "slower"}


@pytest.fixture
def told(study, tmp_path):
    """A study with made-up results, exported."""
    made = {Job("H01", "held_out", 0, seed): {"B6": run(10 + seed / 100)} for seed in range(100, 125)}
    for seed in range(10, 15):
        sick, well = run(25.0, [REPAIR], step=312), run(10.5, [REPAIR], step=312)
        arms = {arm: sick for arm in ("B0", "B1", "B2", "B3", "B4", "B5")} | {"B6": well, "B7": well}
        made[Job("F01", "held_out", 0, seed)] = arms | {"B4": sick | {"same_as": "B6"}}
        made[Job("S-off", "held_out", 0, seed - 10)] = {"trials": [[240, 12.0, "COMPLETE", None]]}
    jobs.enqueue(study, list(made))
    for trial, job in jobs.claimed(study):
        trial.set_user_attr(jobs.RESULT, made[job])
        study.tell(trial, 1.0)
    return export(TINY, study, tmp_path / "results.json")


def test_the_table_is_made_of_what_was_exported(told):
    text = printed(figures(told, CASES, "held_out"), told)
    assert "F01 The learning rate is far too high" in text
    assert "100% (5 of 5" in text
    assert "30 % faults, rules off" in text


@pytest.mark.parametrize("kept", ["F01", "H01"])
def test_part_of_the_results_makes_a_table_and_a_proof_too(told, tmp_path, kept):
    part = told | {"results": [r for r in told["results"] if r["case"] == kept], "studies": []}
    assert kept in printed(figures(part, CASES, "held_out"), part)
    (tmp_path / "part.json").write_text(json.dumps(part))
    (tmp_path / "docs").mkdir()
    proof([str(tmp_path / "part.json"), "--docs", str(tmp_path / "docs")], standalone_mode=False)
    assert "not measured" in (tmp_path / "docs" / "proof.md").read_text()


def test_reasons_are_kept_of_our_rows_alone_and_twins_only_by_name(told):
    [arms, *_] = [r["arms"] for r in told["results"] if r["case"] == "F01"]
    assert arms["B4"] == {"same_as": "B6"}
    assert "reason" in arms["B6"]["rows"][0] and "reason" not in arms["B2"]["rows"][0]


def test_the_proof_is_made_of_the_file_alone(told, tmp_path):
    (tmp_path / "docs").mkdir()
    proof([str(tmp_path / "results.json"), "--docs", str(tmp_path / "docs")], standalone_mode=False)
    text = (tmp_path / "docs" / "proof.md").read_text()
    assert "| 5/5 | 5/5 | oversized_steps | 0/5 | 0/5 |" in text
    runs = sum(r["case"] == "H01" for r in told["results"])
    assert f"| H01 The base recipe. | {runs} | 0 |  | 0 |" in text  # a number is no answer
    assert "F25 The loader of batches hangs." in text
    assert {p.name for p in (tmp_path / "docs").glob("*.png")} == {
        "proof-arms.png",
        "proof-faults.png",
        "proof-runs.png",
    }
    assert json.loads((tmp_path / "results.json").read_text())["identity"] in text


@pytest.mark.parametrize(("watching", "met"), [("-0.30%", True), ("+1.00%", True), ("+1.20%", False)])
def test_what_is_measured_elsewhere_stays_in_the_file(told, study, tmp_path, watching, met):
    path = tmp_path / "results.json"
    for share in ("+9.00%", watching):
        add(path, watching_row({"case": "quickstart", "watching": share, "quartiles": "-1% to +1%"}))
    [row] = export(TINY, study, path)["more"]
    assert (row["met"], watching in row["found"]) == (met, True)


def test_results_of_another_database_stay_in_the_file_if_rules_and_cases_are_the_same(
    told, tmp_path, monkeypatch
):
    path, again = tmp_path / "results.json", jobs.open_study(TINY, f"sqlite:///{tmp_path}/again.db")
    job = Job("F01", "held_out", 0, 10)
    jobs.enqueue(again, [job, Job("S-ours", "held_out", 0, 0)])
    for trial, claimed in jobs.claimed(again):
        trials = {"trials": [[240, 11.0, "COMPLETE", None]]}
        trial.set_user_attr(jobs.RESULT, {"B0": run(26.0)} if claimed == job else trials)
        again.tell(trial, 1.0)
    found = export(TINY, again, path)
    assert len(found["results"]) == len(told["results"])
    assert [r["arms"].keys() for r in found["results"] if r["case"] == "F01" and r["seed"] == 10] == [{"B0"}]
    assert sorted(case for case, *_ in found["studies"]) == ["S-off"] * 5 + ["S-ours"]
    assert {job.case for job in known(TINY, read(path))} == {"F01", "H01", "S-off", "S-ours"}
    before = jobs.identity(TINY)
    monkeypatch.setattr(jobs, "RULES", jobs.RULES[:-1])
    other = jobs.open_study(TINY, f"sqlite:///{tmp_path}/again.db")
    assert {job.case for job in known(TINY, read(path))} == {"S-off"}  # which has no rules
    found = export(TINY, other, path)
    assert found["results"] == []
    assert {(case, by) for case, *_, by in found["studies"]} == {("S-off", None), ("S-ours", before)}
    assert [row["rules"] for row in study_rows(found)] == ["", before]


def test_what_has_no_rules_is_the_same_by_other_rules(told, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "RULES", jobs.RULES[:-1])
    found = read(tmp_path / "results.json")
    kept = known_without_rules(TINY, found)
    assert {job.case for job in kept} == {"F01"}  # H01 has our rules alone
    arms = kept[Job("F01", "held_out", 0, 10)]
    assert {arm: run["curve"][-1][1] for arm, run in arms.items()} == {"B0": 25.0, "B5": 25.0, "B7": 10.5}
    with pytest.raises(ValueError, match="other cases"):
        known_without_rules(TINY, found | {"ground": "another"})


def test_spoilt_trials_of_a_study_are_the_same_in_every_mode():
    assert faults_of(CASES, 3) == faults_of(CASES, 3)
    assert len(faults_of(CASES, 0)) == FAULTY == round(0.3 * TRIALS)
    assert faults_of(CASES, 0) != faults_of(CASES, 1)
    assert {"S-off", "S-prune", "S-full"} == {
        name for name, mode in MODES.items() if mode.spoilt and not name.startswith("D-")
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_large_a_share_of_the_trials_is_spoilt(share):
    counts = [len(faults_of(CASES, seed, share)) / MOST_TRIALS for seed in jobs.PAIRED_SEEDS]
    assert abs(sum(counts) / len(counts) - share) < 0.03


def test_of_a_share_of_trials_each_fault_spoils_the_value_and_none_is_a_draw_of_the_search():
    drawn = {case for seed in range(20) for case, _ in faults_of(CASES, seed, 1.0).values()}
    assert drawn == {"F02", "F04", "F05", "F06", "F08", "F14", "F15", "F17", "F21", "F23", "F24", "F28"}
    runs = read(HERE / "results-tiny.json")["results"]

    def best(case):
        found = [run["curve"] for r in runs if r["case"] == case for run in [unruled(r["arms"])]]
        return [min((m[1] for m in curve if m[0] <= TINY.planned), default=27.0) for curve in found]

    sound = np.mean(best("H01"))
    spoilt = {case for case in drawn | MILD if np.mean(best(case)) > sound + 1}
    assert spoilt == drawn


def unruled(arms):
    run = arms.get("B0") or arms["B6"]
    return arms[run["same_as"]] if "same_as" in run else run


def test_the_best_value_counts_from_when_it_was_known():
    trials = [[240, 12.0, "COMPLETE", None], [300, 11.0, "PRUNED", None], [540, 11.0, "COMPLETE", None]]
    assert [best_at(trials, steps) for steps in (100, 240, 299, 300, 999)] == [None, 12.0, 12.0, 11.0, 11.0]


def test_jobs_are_plain_data():
    assert Job(**asdict(WANTED[0])) == WANTED[0]
