"""What a person asks of a study's repairs: what was seen, what was changed, what came of it."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from statistics import median
from typing import Any

from smart_tuner.repair.rule import Entry, Hyperparameters, Rule, in_force
from smart_tuner.repair.words import ENGLISH, Words, of_rules

DEEDS = ("repair", "verdict", "end")  # kinds of entries by which something was done
VERDICTS = ("improved", "no effect", "harm", "unknown")
LONGEST_NOTE = 1000  # bytes; optuna-dashboard reads all notes at every poll
KINDS = {"alarm": "alarm", "repair": "repair", "verdict": "verdict", "end": "given up", "void": "void"}


def seen(entry: Entry, words: Words = ENGLISH) -> str:
    """What a rule saw."""
    return words.sentence(entry.rule, entry.reason, entry.evidence)


def done(entry: Entry, words: Words = ENGLISH) -> str:
    """What was done, or why nothing was."""
    return words.sentence(entry.rule, entry.action, entry.action_values)


def told(entry: Entry, words: Words = ENGLISH) -> str:
    """One line: when, which rule, what it saw, what was done."""
    if entry.kind == "verdict":
        came = f"{entry.verdict}: {_compared(entry)}" if _compared(entry) else str(entry.verdict)
        return f"step {entry.step}: verdict on {entry.rule}: {came}; {done(entry, words)}"
    more = f" ({_more(entry)})" if _more(entry) else ""
    saw, did = seen(entry, words), done(entry, words)
    return f"step {entry.step}: {KINDS[entry.kind]} {entry.rule}: {saw}; {did}{more}"


def changes(entry: Entry) -> str:
    return ", ".join(f"{name} {old:.4g} → {new:.4g}" for name, (old, new) in entry.changes.items())


def _more(entry: Entry) -> str:
    """What was changed, in numbers."""
    parts = [changes(entry)] if entry.changes else []
    parts += [f"weights of step {entry.back_to}"] if entry.back_to is not None else []
    parts += [f"learning rate warms up over {entry.ramp} steps"] if entry.ramp else []
    parts += [", ".join(entry.clips)] if entry.clips else []
    return "; ".join(parts)


def _compared(entry: Entry) -> str:
    both = [(name, then, entry.after[name]) for name, then in entry.before.items() if name in entry.after]
    return ", ".join(f"{name} {_number(then, 3)} → {_number(now, 3)}" for name, then, now in both)


def records(rows: Iterable[tuple[int, Entry]], words: Words = ENGLISH) -> list[dict[str, Any]]:
    """One record an entry that counts, for tables and JSON."""
    return [
        {
            "trial": number,
            "seq": entry.seq,
            "step": entry.step,
            "kind": entry.kind,
            "rule": entry.rule,
            "seen": seen(entry, words) if entry.kind != "verdict" else _compared(entry),
            "done": entry.verdict or done(entry, words),
            "changes": changes(entry),
            "back_to": entry.back_to,
            "clips": ", ".join(entry.clips),
        }
        for number, entry in counting(rows)
    ]


def counting(rows: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    """Without what a resume trained anew."""
    by_trial: dict[int, list[Entry]] = {}
    for number, entry in rows:
        by_trial.setdefault(number, []).append(entry)
    for number, entries in by_trial.items():
        yield from ((number, entry) for entry in in_force(entries))


def balance(rows: Iterable[tuple[int, Entry]], values: Mapping[int, float]) -> str:
    """What the rules did for a study, in a few lines; "" where there is nothing to tell.

    Args:
        rows: trial numbers and entries.
        values: of the trials that have come to their end, the best that each was measured at.
    """
    counted = list(counting(rows))
    final = {(n, e.parent): e.verdict for n, e in counted if e.kind == "verdict" and e.verdict != "eased"}
    repaired = {n for n, e in counted if e.kind == "repair"}
    controls = {n for n, e in counted if e.kind == "alarm" and e.action == "control"}
    if not repaired and not controls:
        return ""
    made = sum(e.kind == "repair" for _, e in counted)
    came = Counter(final.values())
    told = ", ".join(f"{came[verdict]} {verdict}" for verdict in VERDICTS)
    lines = [f"{made} repairs in {len(repaired)} trials; by what the runs were worth since: {told}."]
    groups = {"repaired": repaired, "left alone on purpose (controls)": controls - repaired}
    for name, numbers in groups.items():
        if found := [values[number] for number in numbers if number in values]:
            lines.append(f"Trials {name}: {len(found)} ended, with a median of {median(found):.4g}.")
    return "\n".join(lines)


def explained(rows: Iterable[tuple[int, Entry]], words: Words = ENGLISH) -> str:
    """The same as a story that needs no knowledge of the program."""
    lines: list[str] = []
    current = None
    for number, entry in counting(rows):
        if number != current:
            lines += ["", f"Trial {number}"]
            current = number
        lines += _paragraph(entry, words)
    return "\n".join(lines).strip()


def _paragraph(entry: Entry, words: Words) -> Iterator[str]:
    saw, did = seen(entry, words), done(entry, words)
    numbers = {name: value for name, value in entry.evidence.items() if not isinstance(value, str)}
    evidence = ", ".join(f"{name} {_number(value)}" for name, value in numbers.items())
    if entry.kind == "alarm":
        yield f"  Step {entry.step}. The rule {entry.rule} saw something: {saw}."
        yield f"    Nothing was changed: {did}."
    elif entry.kind == "repair":
        rule = f"{entry.rule} (level {entry.level}, priority {entry.priority} of 10)"
        yield f"  Step {entry.step}. The rule {rule} saw: {saw}."
        if evidence:
            yield f"    Evidence: {evidence}."
        if entry.suppressed:
            yield f"    Also seen, but further from the cause: {', '.join(entry.suppressed)}."
        yield f"    Repair{_nth(entry)}: {did}. {_more(entry)}."
        if entry.verify_at is not None:
            yield f"    What came of it is judged at step {entry.verify_at}."
    elif entry.kind == "verdict":
        yield f"  Step {entry.step}. Verdict on {entry.rule}: {entry.verdict}; the repair was {did}."
        if entry.changes:
            yield f"    {changes(entry)}."
        yield f"    {_compared(entry)}."
    else:
        yield f"  Step {entry.step}. The rule {entry.rule} ended the trial: {saw}; {did}."


def note(entries: Iterable[Entry], reason: str, words: Words = ENGLISH) -> str:
    """A trial's repairs as a short Markdown table, cut where it would be long."""
    entries = list(entries)
    verdicts = {entry.parent: entry.verdict for entry in entries if entry.kind == "verdict"}
    rows = [
        f"| {entry.step} | {entry.rule} | {_cell(seen(entry, words))} "
        f"| {changes(entry) or _cell(done(entry, words))} "
        f"| {verdicts.get(entry.seq) or ('gave up' if entry.kind == 'end' else 'none')} |"
        for entry in entries
        if entry.kind in ("repair", "end")
    ]
    lines = [_cut(reason, 200), ""] if reason else []
    if not rows:
        return "\n".join([*lines, "Nothing was repaired."])
    lines += ["| step | rule | evidence | old → new | verdict |", "|---|---|---|---|---|"]
    for number, row in enumerate(rows):
        left = f"\n{len(rows) - number} more: run_study.py fixes NAME --trial N"
        if len("\n".join([*lines, row, left]).encode()) > LONGEST_NOTE:
            return "\n".join([*lines, left])
        lines.append(row)
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _cut(text.replace("|", "/").replace("\n", " "), 120)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: float | str, digits: int = 4) -> str:
    """What the database could not hold as a number, such as NaN, came back as text."""
    return value if isinstance(value, str) else f"{value:.{digits}g}"


def _nth(entry: Entry) -> str:
    return "" if entry.remedy is None else f", number {entry.remedy + 1} of its remedies"


def rules_page(
    rules: Iterable[Rule],
    offered: Collection[str],
    settings: Mapping[str, float],
    advises: Collection[str] = (),
) -> str:
    """All rules as Markdown: what each sees, its numbers, what it tries and how it ends.

    Args:
        offered: what rules may need and the objective has: names of measures, settings and ways.
        settings: those that a rule would change.
        advises: names of the rules that only say what they would do.
    """
    shown = Hyperparameters(settings)
    return "\n\n".join(_rule_page(rule, offered, shown, rule.name in advises) for rule in rules)


def _rule_page(rule: Rule, offered: Collection[str], settings: Hyperparameters, advises: bool) -> str:
    bounds = ", ".join(f"`{field.name}` {getattr(rule, field.name):g}" for field in fields(rule))
    m, n = rule.votes
    asked = {
        "step": "after every step",
        "probe": "at every look at the parts of the network",
        "validation": "at every validation",
        "event": "when it happens",
    }[rule.tier]
    votes = f", fires on {m} of {n}" if n > 1 and rule.tier != "event" else ""
    words, remedies = Words("en", of_rules([rule])), rule.remedies(settings)[: rule.max_remedies]
    tries = [words.sentence(rule.name, action.code, action.values) for action in remedies]
    shown = "; ".join(f"{k}. {what}" for k, what in enumerate(tries, 1)) or "nothing"
    ends = {None: "is only reported", "PRUNED": "prunes the trial", "FAIL": "fails the trial"}
    end = ends.get(rule.gives_up, "ends the trial as complete")
    missing = ", ".join(rule.missing(offered))
    return "\n".join(
        [
            f"### {rule.name}",
            "",
            " ".join((type(rule).__doc__ or "").split()),
            "",
            f"- level {rule.level}, priority {rule.priority}; asked {asked}{votes}",
            f"- thresholds: {bounds or 'none'}",
            *([f"- only advises: {shown}"] if advises else [f"- tries: {shown}", f"- then: {end}"]),
            *([f"- idle: needs {missing}, which this objective does not offer"] if missing else []),
        ]
    )
