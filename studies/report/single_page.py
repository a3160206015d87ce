"""A study's story as one HTML file that needs nothing else: text, pictures, the best trial's sound."""

import base64
import warnings
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import Words
from smart_tuner.store import attributes
from studies.file.spec import Spec
from studies.report import fixes
from studies.report import summary as report
from studies.report.history import best_trial, three_bests
from studies.run.folders import trial_folder

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 48, 30
LEAST_TRIALS, TOO_FEW = 10, "<p>The completed trials are too few to tell.</p>"  # of importance
STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #b35900; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc269; --bad: #f0a35e; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
svg, img, audio { width: 100%; height: auto; } img { background: #fff; }
audio { height: 3rem; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
svg .COMPLETE { stroke: var(--good); } svg .PRUNED, svg .FAIL, svg .RUNNING { stroke: var(--bad); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; margin: 1rem 0; }
.pair figcaption { grid-column: 1 / -1; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; } dt { opacity: .7; } dd { margin: 0; }
"""


def page(
    study: optuna.Study,
    spec: Spec,
    sample: str | None,
    repairs: Iterable[tuple[int, Entry]],
    ratings: list[report.Record],
    folder: Path,
) -> str:
    """Args:
    sample: where the best trial's sound (.wav) and picture (.png) lie, without the ending.
    folder: where the folders of the study's trials are.
    """
    rows = list(fixes.counting(repairs))
    parts = "\n".join([*_parts(study, spec, sample, rows), *_pictures(rows, folder), *_rated(ratings)])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study.study_name)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{parts}\n</body>\n</html>"
    )


def _parts(
    study: optuna.Study, spec: Spec, sample: str | None, repairs: list[tuple[int, Entry]]
) -> Iterator[str]:
    trials, status = study.get_trials(deepcopy=False), report.status_record(study, spec)
    yield f"<h1>{escape(study.study_name)}</h1>\n<p>{escape(spec.question)}</p>"
    yield _pairs({name: value for name, value in status.items() if value is not None})
    if note := report.voiceless(study):
        yield f"<p>{escape(note)}</p>"
    best = best_trial(study)
    if best is None:
        yield "<h2>Best</h2>\n<p>No trial completed.</p>"
    else:
        yield f"<h2>Best: trial {best.number}</h2>\n<p>{escape(report.measure_line(study, best, status))}</p>"
        yield from _heard(spec, sample)
        yield _pairs(best.params)
        yield "<h2>Bests</h2>\n<ul>" + "".join(_bests(study)) + "</ul>"
    yield "<h2>Distance in dB by consumed steps</h2>\n" + _curves(trials)
    yield from _importance(study, trials)
    yield "<h2>Trials</h2>\n" + _table([report.flat(record) for record in report.trial_records(study)])
    reasons = [(t.number, why) for t in trials if (why := attributes.reason(t))]
    if reasons:
        listed = "".join(f"<li>trial {n}: {escape(report.printable(why))}</li>" for n, why in reasons)
        yield f"<h2>Why trials ended</h2>\n<ul>{listed}</ul>"
    told = fixes.explained(repairs, Words("en", fixes.words_of(study)))
    yield f"<h2>Repairs</h2>\n<pre>{escape(told or 'Nothing was repaired.')}</pre>"


def _pictures(repairs: list[tuple[int, Entry]], folder: Path) -> Iterator[str]:
    """What the attention was like before each repair, and at its verdict."""
    verdicts = {(number, entry.parent): entry for number, entry in repairs if entry.kind == "verdict"}
    for number, entry in repairs:
        pair = {"before": entry, "after": verdicts.get((number, entry.seq))}
        files = {when: trial_folder(folder, number) / e.picture for when, e in pair.items() if e is not None}
        images = "".join(
            f'<img alt="attention {when} it" src="{_inline(file, "image/png")}">'
            for when, file in files.items()
            if file.is_file()
        )
        if entry.kind == "repair" and images:
            told = escape(f"trial {number}, step {entry.step}: attention before and after {entry.rule}")
            yield f'<figure class="pair"><figcaption>{told}</figcaption>{images}</figure>'


def _rated(ratings: list[report.Record]) -> Iterator[str]:
    if ratings:
        yield "<h2>Ratings, 1 to 5, by people who listened</h2>\n" + _table(ratings)


def _heard(spec: Spec, sample: str | None) -> Iterator[str]:
    """The best trial's sound and alignment, where its files are on this machine."""
    sound, picture = Path(f"{sample}.wav"), Path(f"{sample}.png")
    if sample is None or not (sound.is_file() and picture.is_file()):
        yield "<p>The files of this trial are not on this machine.</p>"
        return
    yield f"<p>It says “{escape(spec.objective.speak)}”:</p>"
    yield f'<audio controls src="{_inline(sound, "audio/wav")}"></audio>'
    yield f'<img alt="alignment of the sample" src="{_inline(picture, "image/png")}">'


def _inline(file: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _pairs(found: dict[str, object]) -> str:
    rows = "".join(
        f"<dt>{escape(report.printable(name))}</dt><dd>{escape(report.shown(value))}</dd>"
        for name, value in found.items()
    )
    return f"<dl>{rows}</dl>"


def _bests(study: optuna.Study) -> Iterator[str]:
    for kind, trial in three_bests(study).items():
        found = f"trial {trial.number}, {trial.value:.2f} dB" if trial else "none"
        yield f"<li>{report.BESTS[kind]}: {found}</li>"


def _table(records: list[report.Record]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record))
    head = "".join(f"<th>{escape(report.printable(name))}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(report.shown(record.get(name)))}</td>" for name in names) + "</tr>"
        for record in records
    )
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _curves(trials: list[FrozenTrial]) -> str:
    """One line a trial."""
    curves = {trial.number: _finite(trial.intermediate_values) for trial in trials}
    measured = [trial for trial in trials if curves[trial.number]]
    if not measured:
        return "<p>Nothing was measured yet.</p>"
    steps = max(step for trial in measured for step, _ in curves[trial.number])
    values = [value for trial in measured for _, value in curves[trial.number]]
    low, high = min(values), max(values)
    reach = (high - low) or 1.0

    def place(step: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * step / (steps or 1)
        return f"{x:.1f},{8 + (HEIGHT - BOTTOM - 16) * (high - value) / reach:.1f}"

    lines = []
    for trial in measured:
        points = [place(step, value) for step, value in curves[trial.number]]
        title = f"<title>trial {trial.number}, {trial.state.name}</title>"
        shape = f'<polyline fill="none" stroke-width="1.5" points="{" ".join(points)}">{title}</polyline>'
        x, y = points[-1].split(",")
        dot = f'<circle cx="{x}" cy="{y}" r="2.5">{title}</circle>'
        lines.append(f'<g class="{trial.state.name}">{shape}{dot}</g>')
    marks = [
        f'<text x="0" y="14">{high:.2f}</text><text x="0" y="{HEIGHT - BOTTOM - 4}">{low:.2f}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">0</text>',
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 8}" text-anchor="end">{steps} steps</text>',
    ]
    return _svg("distance of every trial by consumed steps", HEIGHT, [*lines, *marks])


def _finite(curve: dict[int, float]) -> list[tuple[int, float]]:
    """The points that a picture can show."""
    return sorted((step, value) for step, value in curve.items() if attributes.is_number(value))


def _importance(study: optuna.Study, trials: list[FrozenTrial]) -> Iterator[str]:
    """How much of the differences each parameter explains, where there are any."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params]
    yield "<h2>Which parameters matter</h2>"
    if len({trial.value for trial in complete}) < LEAST_TRIALS:
        yield TOO_FEW
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            found = optuna.importance.get_param_importances(study)
        except UserWarning:  # so Optuna says that it has too few trials for a good answer
            yield TOO_FEW
            return
    bars = []
    for row, (name, share) in enumerate(found.items()):
        y = 24 * row
        bars.append(
            f'<text x="0" y="{y + 16}">{escape(report.printable(name))}</text>'
            f'<rect x="220" y="{y + 4}" width="{max(1.0, 340 * share):.1f}" height="16" fill="currentColor"'
            f' opacity=".5"/><text x="{568}" y="{y + 16}">{share:.0%}</text>'
        )
    yield _svg("importance of parameters", 24 * len(bars) + 4, bars)


def _svg(label: str, height: int, parts: list[str]) -> str:
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}">' + "\n".join(parts) + "</svg>"
    )
