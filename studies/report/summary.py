"""What a person asks of a study: its state, its trials, its best, its story."""

import datetime
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import Words
from smart_tuner.store import attributes
from studies.file.spec import Spec
from studies.report import fixes, history, winner
from studies.report.described import Described, words_of
from studies.report.history import best_from_elsewhere, best_trial, three_bests

Record = dict[str, Any]
BESTS = {
    "unassisted": "without repairs",
    "assisted": "with repairs",
    "verified_fresh": "begun anew with repaired values",
}


def study_records(storage: optuna.storages.BaseStorage) -> list[Record]:
    """One record a study, with the columns of `optuna studies`."""
    return [
        {
            "name": summary.study_name,
            "direction": ", ".join(direction.name for direction in summary.directions),
            "n_trials": summary.n_trials,
            "datetime_start": summary.datetime_start,
        }
        for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)
    ]


def trial_records(study: optuna.Study, state: str | None = None) -> list[Record]:
    """One record a trial, with the columns of `optuna trials`."""
    return [
        trial_record(trial)
        for trial in study.get_trials(deepcopy=False)
        if state is None or trial.state.name == state
    ]


def trial_record(trial: FrozenTrial) -> Record:
    return {
        "number": trial.number,
        "value": trial.value,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
        "duration": trial.duration,
        "params": trial.params,
        "user_attrs": trial.user_attrs,
        "state": trial.state.name,
    }


def best_record(study: optuna.Study, spec: Spec, best: FrozenTrial) -> Record:
    """The best trial's record, and beside it which trials are best of each kind, and what to know of it."""
    bests = three_bests(study)
    numbers = {f"best_{kind}": trial.number if trial else None for kind, trial in bests.items()}
    values = {f"value_{kind}": trial.value if trial else None for kind, trial in bests.items()}
    told: Record = {"repairs": attributes.repairs(best)}
    if before := history.before(study, best):
        told |= {f"before_{name}": value for name, value in before.items()}
    times, again = winner.repeats(study, best)
    if again:
        low, mean, high = min(again), fmean(again), max(again)
        told |= {"repeats": times, "repeated_low": low, "repeated_mean": mean, "repeated_high": high}
    if "mismatch" in attributes.yardstick(study):
        told["no_speech_yet"] = history.no_speech_yet(study, best)
    if heard := attributes.heard(study, best):
        told |= {
            name: value for name, value in asdict(heard).items() if name != "trial" and value is not None
        }
        told["intelligible"] = heard.intelligible
    return {**trial_record(best), **told, **numbers, **values, "remarks": winner.remarks(study, spec, best)}


def status_record(study: optuna.Study, spec: Spec) -> Record:
    steps, hours = history.consumed(study)
    waiting = history.paused(study) if spec.freezes else []
    running = [trial for trial in history.unfinished(study) if trial not in waiting]
    best, states = best_trial(study), history.states(study)
    return {
        "name": study.study_name,
        "trials": f"{history.started(study)}" + ("" if spec.freezes else f"/{spec.budget.trials}"),
        **{name: states[name] for name in ("complete", "pruned", "fail", "running")},
        "repeats": _repeats(study, spec),
        "finish": _finish(study, spec),
        "repaired": history.repaired(study),
        "consumed_steps": steps,
        "hours": round(hours, 3),
        "best_value": best.value if best else None,
        "best_trial": best.number if best else None,
        **({"copy_synthesis": None, "mismatch": None} if spec.objective.use is None else {}),
        **attributes.yardstick(study),
        "skipped": attributes.skipped(study),
        "device": attributes.device(study),
        "unfinished": ", ".join(f"{number} (step {step})" for number, step in running) or None,
        **({"paused": _may_go_on(waiting), "most_steps": history.most_steps(spec)} if spec.freezes else {}),
    }


def _may_go_on(paused: Iterable[tuple[int, int]]) -> str | None:
    return ", ".join(f"{number} (step {step}, may go on)" for number, step in paused) or None


def _repeats(study: optuna.Study, spec: Spec) -> str | None:
    """How often values were tried again, or will be; None where nobody wants it."""
    found = Counter(history.repeating(study).values())
    if not found and spec.search.repeats:
        return f"after the search, {spec.search.repeats}"
    return ", ".join(f"{times} of trial {number}" for number, times in found.items()) or None


def _finish(study: optuna.Study, spec: Spec) -> str | None:
    """How the best trial is trained on, or will be; None where nobody wants it."""
    trials = study.get_trials(deepcopy=False)
    done = [
        f"trial {number} from trial {on.trial} to step {on.steps}: {trials[number].state.name.lower()}"
        for number, on in history.going_on(study).items()
    ]
    if not done and spec.finish.steps is not None:
        return f"after the search, to step {spec.finish.steps}"
    return done[-1] if done else None


def formatted(found: Record | list[Record], form: str) -> str:
    """Records as JSON, as a table, or as bare values, in Optuna's names."""
    if form == "json":
        return as_json(found)
    records = [flat(record) for record in (found if isinstance(found, list) else [found])]
    names = columns(records)
    rows = [[shown(record.get(name)) for name in names] for record in records]
    if form == "value":
        return "\n".join(" ".join(row) for row in rows)
    return rendered(names, rows)


def columns(records: list[Record]) -> list[str]:
    """The names of all that any of them has."""
    return list(dict.fromkeys(name for record in records for name in record))


def rendered(names: list[str], rows: list[list[str]]) -> str:
    """A table as text, as wide as it needs: a cut one loses data. Foreign text is shown as it is."""
    table = Table(*(escape(printable(name)) for name in names))
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(width=10_000, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def flat(record: Record) -> Record:
    """One level: params as params_NAME, and of attributes and remarks none, which a table cannot hold."""
    params = {f"params_{name}": value for name, value in record.get("params", {}).items()}
    rest = {name: value for name, value in record.items() if name not in ("params", "user_attrs", "remarks")}
    state = {"state": rest.pop("state")} if "state" in rest else {}
    return {**rest, **params, **state}


def as_json(found: Any) -> str:
    """Whatever others have written in it: JSON knows no NaN, and UTF-8 no half of a character."""
    try:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(_plain(found), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else shown(value)


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """In one line, and nothing in it steers a terminal: others may have written it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def trials_table(study: optuna.Study) -> str:
    """The trials as a person reads them at the end of a run."""
    trials = study.get_trials(deepcopy=False)
    params, described = columns([trial.params for trial in trials]), Described.of(study)
    measures = [described.name(measure) for measure in described.weightiest]
    names = ["trial", "state", described.unit or "value", "steps", *measures, "repairs", *params]
    return rendered(names, [_trial_row(trial, described, params) for trial in trials])


def _trial_row(trial: FrozenTrial, described: Described, params: list[str]) -> list[str]:
    measures, best = attributes.measures(trial), attributes.best_measure(trial)
    values = [trial.params.get(name) for name in params]
    return [
        str(trial.number),
        trial.state.name,
        "" if trial.value is None else attributes.with_unit(trial.value, ""),
        str(measures[-1]["step"]) if measures else "",
        *(_number(name, best) for name in described.weightiest),
        str(attributes.repairs(trial) or ""),
        *(f"{value:.4g}" if isinstance(value, float) else shown(value) for value in values),
    ]


def course_table(study: optuna.Study, trial: FrozenTrial) -> str:
    """How a trial's measures went, a row each, with the four weightiest numbers beside the value; last, what
    of them is known of the recordings."""
    described, rows = Described.of(study), attributes.measures(trial)
    beside = [name for name in described.measures[:4] if any(_number(name, row) for row in rows)]
    names = ["step", described.unit or "value", *map(described.name, beside)]
    shown_rows = [
        [str(row["step"]), attributes.with_unit(row["value"], ""), *(_number(name, row) for name in beside)]
        for row in rows
    ]
    known = {name: value for row in rows for name, value in row.items()}
    marks = [_number(attributes.RECORDINGS + name, known) for name in beside]
    return rendered(names, [*shown_rows, *([["recordings", "", *marks]] if any(marks) else [])])


def _number(name: str, measured: Record | None) -> str:
    """One of the numbers of a measure; nothing, where it has not this one."""
    value = (measured or {}).get(name)
    if not attributes.is_number(value):
        return ""
    return f"{value:.0%}" if name.endswith("_share") else f"{value:.4g}"


def markdown(
    study: optuna.Study,
    spec: Spec,
    sample: str | None,
    repairs: Iterable[tuple[int, Entry]],
    ratings: list[Record],
) -> str:
    """The study's story as Markdown: what was asked, tried, repaired and found."""
    status = status_record(study, spec)
    lines = [f"# {study.study_name}", "", spec.question, ""]
    lines += [f"- {name}: {shown(value)}" for name, value in status.items() if value is not None]
    best, note = best_trial(study), untrained(study)
    if note:
        lines += ["", note]
    if best:
        lines += ["", f"## Best: {named(study, best)}", "", measure_line(study, spec, best), ""]
        lines += [f"- {printable(name)}: {shown(value)}" for name, value in best.params.items()]
        lines += ["", f"Sample and alignment: {sample}"] if sample and spec.objective.speak else []
        lines += ["", *(f"- {remark}" for remark in remarks(study, spec, best))]
        lines += ["", "## Bests", "", *(f"- {line}" for line in bests(study)), ""]
    lines += ["", "## Trials", "", *_markdown_table([flat(r) for r in trial_records(study)]), ""]
    lines += [f"## Measures: {value_name(Described.of(study))} by consumed steps", ""]
    for trial in study.get_trials(deepcopy=False):
        points = trial.intermediate_values.items()
        curve = ", ".join(f"{step}: {attributes.with_unit(value, '')}" for step, value in points)
        reason = attributes.reason(trial)
        lines.append(
            f"- trial {trial.number}: {curve or 'none'}{f' ({printable(reason)})' if reason else ''}"
        )
    rows = list(repairs)
    if rows:
        lines += [
            "",
            "## Repairs",
            "",
            "```",
            fixes.explained(rows, Words("en", words_of(study))),
            "```",
        ]
    if ratings:
        lines += ["", "## Ratings, 1 to 5, by people who listened", "", *_markdown_table(ratings)]
    return "\n".join(lines)


def bests(study: optuna.Study) -> list[str]:
    """The best trial of each kind, a line each."""
    described = Described.of(study)
    found = {
        kind: f"trial {trial.number}, {described.shown(trial.value or 0.0)}" if trial else "none"
        for kind, trial in three_bests(study).items()
    }
    return [printable(f"{BESTS[kind]}: {text}") for kind, text in found.items()]


def named(study: optuna.Study, best: FrozenTrial) -> str:
    """The best trial, and from which one it goes on, if it does: before and after."""
    before, measured = history.before(study, best), attributes.best_measure(best)
    if before is None or measured is None:
        vain = [on for on in history.going_on(study).values() if on.trial == best.number]
        longer = f", which was no better when it was trained on to step {vain[-1].steps}" if vain else ""
        return f"trial {best.number}{longer}"
    value = Described.of(study).shown(before["value"] or 0.0)
    origin = f"goes on from trial {before['number']} ({value} after {before['step']} steps)"
    return f"trial {best.number}, which {origin} to step {measured['step']}"


def value_name(described: Described) -> str:
    """What the objective's value is called, with its unit."""
    unit = f", {described.unit}" if described.unit else ""
    return printable(described.name("value") if "measure.value" in described.words else f"value{unit}")


def measure_line(study: optuna.Study, spec: Spec, best: FrozenTrial) -> str:
    """The best trial's value, what it is held against, and what else was measured then."""
    described, measured = Described.of(study), attributes.best_measure(best)
    line = described.shown(best.value or 0.0)
    if yardstick := attributes.yardstick(study):
        held = (f"{described.name(name)} {described.shown(value)}" for name, value in yardstick.items())
        line += f" ({', '.join(held)})"
    heard = attributes.heard(study, best)  # of more sentences than the measure's own figures are
    names = [name for name in described.measures if heard is None or name not in asdict(heard)]
    numbers = {described.name(name): _number(name, measured) for name in names}
    line = ", ".join([line, *(f"{name} {number}" for name, number in numbers.items() if number)])
    if history.no_speech_yet(study, best):
        line += ". That is hardly nearer than a different sentence: no speech yet, whatever did not fail"
    if heard is not None:
        line += f". Understood: {heard.letters} of 100 letters (recordings: {heard.recordings_letters})"
        if heard.mos is not None and heard.recordings_mos is not None:
            line += f", predicted MOS {heard.mos:.1f} (recordings: {heard.recordings_mos:.1f})"
        if heard.similarity is not None and heard.recordings_similarity is not None:
            line += (
                f", speaker similarity {heard.similarity:.2f} (recordings: {heard.recordings_similarity:.2f})"
            )
        if not heard.intelligible:
            command = f"run_study.py {winner.resume(spec)} --finish {winner.longer(spec, best)}"
            line += f"; not intelligible yet: {command} trains it on"
    return printable(f"{line}.")


def remarks(study: optuna.Study, spec: Spec, best: FrozenTrial) -> list[str]:
    """What is to be known of the best trial before it is believed, a line each."""
    return [printable(remark) for remark in winner.remarks(study, spec, best)]


def untrained(study: optuna.Study) -> str | None:
    """What to say where a trial that was not trained here is better than the best that was."""
    better = best_from_elsewhere(study)
    if better is None:
        return None
    best = best_trial(study)
    said = f"the best that was is trial {best.number}" if best else "none that was has completed yet"
    return f"Trial {better.number} ({shown(better.value)}) was not trained here; {said}."


def _markdown_table(records: list[Record]) -> list[str]:
    names = columns(records)
    rows = [[shown(record.get(name)).replace("|", "\\|") for name in names] for record in records]
    names = [printable(name).replace("|", "\\|") for name in names]
    return [f"| {' | '.join(row)} |" for row in [names, ["---"] * len(names), *rows]]


def summary(
    study: optuna.Study, spec: Spec, sample: str | None, further: Iterable[tuple[str, str]] = ()
) -> str:
    """What a run ends with: the trials, the best one, its sound and picture, what to do next.

    Args:
        further: commands that go on from here, and what each does.
    """
    name, best, note = study.study_name, best_trial(study), untrained(study)
    parts = [trials_table(study), *(["", note] if note else [])]
    if best is None:
        wanted = spec.finish.steps is not None
        none = "No trial completed" + (", so there is none to train on." if wanted else ".")
        return "\n".join([*parts, "", none, f"See why: run_study.py trials {name} -f json"])
    settings = ", ".join(f"{printable(key)} {shown(value)}" for key, value in best.params.items())
    parts += ["", f"Best: {named(study, best)}. {measure_line(study, spec, best)}"]
    parts += [f"Settings: {settings}"] if settings else []
    parts += ["", course_table(study, best)]
    if known := remarks(study, spec, best):
        parts += ["What to know of it:", *(f"- {remark}" for remark in known)]
    if three_bests(study)["assisted"]:
        parts += ["Of all:", *(f"- {line}" for line in bests(study))]
        parts += [f"What was repaired: run_study.py fixes {name} --explain"]
    speaks = bool(spec.objective.speak)
    if sample and speaks:
        parts += [
            f'It says "{spec.objective.speak}"',
            f"  sound:     {sample}.wav",
            f"  alignment: {sample}.png",
        ]
    parts += [
        "",
        "Next:",
        *([f'  run_study.py speak {name} "your own words" -o out.wav'] if speaks else []),
        f"  run_study.py pages    look at it in a browser{', and talk to its voices' if speaks else ''}",
        f"  run_study.py report {name} -o report.html",
        *(f"  run_study.py {command}    {what}" for command, what in further),
        *([f"  run_study.py export {name} --trial {best.number} -o my_voice"] if speaks else []),
    ]
    return "\n".join(parts)
