"""A study's report as one HTML file that needs nothing else: text, pictures, the best trial's sound."""

import base64
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import Words
from smart_tuner.store import attributes
from smart_tuner.store.attributes import with_unit
from studies.file.spec import Spec
from studies.report import fixes
from studies.report import summary as report
from studies.report.described import Described, words_of
from studies.report.history import best_trial
from studies.run.folders import trial_folder

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 48, 30  # of the curves, as the template draws their axes
LEAST_TRIALS = 10  # completed, before importance says anything
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"printable": report.printable, "shown": report.shown, "columns": report.columns}


def page(
    study: optuna.Study,
    spec: Spec,
    sample: str | None,
    repairs: Iterable[tuple[int, Entry]],
    ratings: list[report.Record],
    folder: Path,
) -> str:
    """The page's text.

    Args:
        sample: where the best trial's sound (.wav) and picture (.png) lie, without the ending.
        folder: where the folders of the study's trials are.
    """
    trials, status = study.get_trials(deepcopy=False), report.status_record(study, spec)
    best, rows = best_trial(study), list(fixes.counting(repairs))
    line = best and report.measure_line(study, spec, best)
    return TEMPLATES.get_template("single_page.html").render(
        name=study.study_name,
        question=spec.question,
        status={name: value for name, value in status.items() if value is not None},
        note=report.untrained(study),
        best=best and {"name": report.named(study, best), "line": line, "params": best.params},
        sentence=spec.objective.speak,
        sound=sample and _inline(Path(f"{sample}.wav"), "audio/wav"),
        picture=sample and _inline(Path(f"{sample}.png"), "image/png"),
        remarks=report.remarks(study, spec, best) if best else [],
        bests=report.bests(study),
        value_name=report.value_name(Described.of(study)),
        curves=_curves(trials),
        importance=_importance(study, trials),
        trials=[report.flat(record) for record in report.trial_records(study)],
        reasons=[(trial.number, why) for trial in trials if (why := attributes.reason(trial))],
        repairs=fixes.explained(rows, Words("en", words_of(study))),
        pictures=list(_pictures(rows, folder)),
        ratings=ratings,
    )


def _inline(file: Path, kind: str) -> str | None:
    """The file as a link that holds it; None where it is not on this machine."""
    if not file.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _pictures(repairs: list[tuple[int, Entry]], folder: Path) -> Iterator[dict[str, Any]]:
    """What was drawn before each repair, and at its verdict."""
    verdicts = {(number, entry.parent): entry for number, entry in repairs if entry.kind == "verdict"}
    for number, entry in repairs:
        pair = {"before": entry, "after": verdicts.get((number, entry.seq))}
        files = {when: trial_folder(folder, number) / e.picture for when, e in pair.items() if e is not None}
        images = {when: image for when, file in files.items() if (image := _inline(file, "image/png"))}
        if entry.kind == "repair" and images:
            title = f"trial {number}, step {entry.step}: before and after {entry.rule}"
            yield {"title": title, "images": images}


def _curves(trials: list[FrozenTrial]) -> dict[str, Any]:
    """One line a trial, and what its axes say."""
    curves = [(trial, curve) for trial in trials if (curve := _finite(trial.intermediate_values))]
    steps = max((step for _, curve in curves for step, _ in curve), default=0)
    values = [value for _, curve in curves for _, value in curve]
    low, high = min(values, default=0.0), max(values, default=0.0)
    reach = (high - low) or 1.0

    def place(step: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * step / (steps or 1)
        return f"{x:.1f},{8 + (HEIGHT - BOTTOM - 16) * (high - value) / reach:.1f}"

    lines = []
    for trial, curve in curves:
        points, title = [place(*point) for point in curve], f"trial {trial.number}, {trial.state.name}"
        line = {"state": trial.state.name, "title": title, "points": points, "end": points[-1].split(",")}
        lines.append(line)
    return {"lines": lines, "low": with_unit(low, ""), "high": with_unit(high, ""), "steps": steps}


def _finite(curve: dict[int, float]) -> list[tuple[int, float]]:
    """The points that a picture can show."""
    return sorted((step, value) for step, value in curve.items() if attributes.is_number(value))


def _importance(study: optuna.Study, trials: list[FrozenTrial]) -> dict[str, float]:
    """How much of the differences each parameter explains; none where there are too few trials to tell."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params]
    if len({trial.value for trial in complete}) < LEAST_TRIALS:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return optuna.importance.get_param_importances(study)
        except UserWarning:  # so Optuna says that it has too few trials for a good answer
            return {}
