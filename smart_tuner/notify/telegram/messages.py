"""What is said to a chat, made from what was stored: nothing is announced that was not done.

Facts are plain JSON. Everything here returns markup (smart_tuner/notify/telegram/format.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from smart_tuner.notify.telegram.format import bold, escaped, lines
from smart_tuner.notify.telegram.language import PHRASES
from smart_tuner.repair import words as catalogue
from smart_tuner.repair.words import Reason, number
from smart_tuner.store.attributes import with_unit

Facts = Mapping[str, Any]
MOST_NAMES = 5  # of clips, measures or parts in one line


class Words(catalogue.Words):
    """One language of all that is said to a chat."""

    def __call__(self, key: str, /, **filled: Any) -> str:
        """A phrase, as markup, with foreign text made safe."""
        return PHRASES[key][self._at].format(**{name: escaped(value) for name, value in filled.items()})

    def changes(self, changes: Mapping[str, Sequence[float]]) -> str:
        return ", ".join(
            f"{self.setting(name)} {number(old)} → {number(new)}" for name, (old, new) in changes.items()
        )

    def compared(self, before: Mapping[str, float], after: Mapping[str, float]) -> str:
        both = [name for name in before if name in after][:MOST_NAMES]
        return ", ".join(f"{self.measure(n)} {number(before[n])} → {number(after[n])}" for n in both)

    def value(self, value: float | str) -> str:
        """A trial's, with its unit; rows of version 0.1 do not say it."""
        unit = self._known.get("unit.value", ("dB", "дБ"))[self._at]
        return f"{value} {unit}".rstrip() if isinstance(value, str) else with_unit(value, unit)

    def why(self, facts: Facts) -> str:
        """What a rule saw."""
        return self.sentence(facts["rule"], facts["reason"], facts.get("evidence", {}))

    def did(self, facts: Facts) -> str:
        """What was done, or why nothing was."""
        return self.sentence(facts["rule"], facts["action"], facts.get("action_values", {}))


def message(kind: str, language: str, facts: Facts, held: int = 0) -> str:
    """The text of an event. Args: held: how many of the kind came before it and were not told."""
    words = Words(language, facts.get("words"))
    return lines(
        _head(words, facts),
        KINDS[kind](words, facts),
        words("held", count=held) if held else None,
    )


def _head(words: Words, facts: Facts) -> str:
    parts = [bold(facts["study"])]
    if facts.get("trial") is not None:
        parts.append(bold(words("trial", number=facts["trial"])))
    if facts.get("step") is not None:
        parts.append(words("step", step=facts["step"]))
    return ", ".join(parts)


def _study_start(words: Words, facts: Facts) -> str:
    names = ", ".join(words.setting(name) for name in facts["searched"])
    begun = "study_goes_on" if facts["done"] else "study_start"
    return lines(
        words(begun, done=facts["done"], budget=facts["budget"]),
        words("searched", names=names) if names else None,
    )


def _study_end(words: Words, facts: Facts) -> str:
    return lines(words("study_end", done=facts["done"], budget=facts["budget"]), summary(words, facts))


def _study_stop(words: Words, facts: Facts) -> str:
    why = words(f"why_{facts['why']}")
    return lines(
        words("study_stop", why=why, done=facts["done"], budget=facts["budget"]),
        escaped(facts["detail"]) if facts.get("detail") else None,
        summary(words, facts),
        words("go_on", command=facts["command"]) if facts.get("command") else None,
    )


def summary(words: Words, facts: Facts) -> str:
    """How a study is: its trials and its bests."""
    best, alone, fresh = facts.get("best"), facts.get("unassisted"), facts.get("fresh")
    hours = number(facts["hours"])
    least = facts.get("copy_synthesis", facts.get("ceiling"))  # which version 0.1 called it
    return lines(
        words("states", **{**facts["states"], "repaired": facts["repaired"], "hours": hours}),
        _best_line(words, best),
        words("unassisted_line", number=alone["number"], value=words.value(alone["value"]))
        if alone and best and alone["number"] != best["number"]
        else None,
        words("fresh_line", number=fresh["number"], value=words.value(fresh["value"])) if fresh else None,
        words("copy_synthesis", copy_synthesis=words.value(least)) if least is not None else None,
    )


def _best_line(words: Words, best: Facts | None) -> str:
    if not best:
        return words("no_best")
    told = words("best_line", **{**best, "value": words.value(best["value"])})
    return lines(
        told,
        _before(words, best),
        words("no_speech") if best.get("no_speech_yet") else None,
        words("understood", **best) if "letters" in best else None,
        words("mos", **best) if "mos" in best else None,
    )


def _before(words: Words, best: Facts) -> str | None:
    """Which trial it goes on from, if it does."""
    if (before := best.get("before")) is None:
        return None
    return words("goes_on_from", **{**before, "value": words.value(before["value"])})


def _best(words: Words, facts: Facts) -> str:
    was = words("best_was", was=words.value(facts["was"])) if facts.get("was") is not None else ""
    return lines(
        words("best", value=words.value(facts["value"]), was=was, step=facts["at_step"]),
        _before(words, facts),
        words("no_speech") if facts.get("no_speech_yet") else None,
        words("best_fixes", repairs=facts["repairs"]) if facts.get("repairs") else None,
        words("listen") if facts.get("sound") else None,
    )


def _repair(kind: str, words: Words, facts: Facts) -> str:
    done = [escaped(words.did(facts))]
    done += [escaped(words.changes(facts["changes"]))] if facts["changes"] else []
    done += [words("back_to", step=facts["back_to"])] if facts.get("back_to") is not None else []
    done += [words("warms_up", ramp=facts["ramp"])] if facts.get("ramp") else []
    if clips := facts.get("clips"):
        done.append(words("clips_out", clips=_few(clips)))
    ended = facts["entry"] == "end"
    nth = facts.get("remedy", facts.get("rung"))  # which version 0.1 called it
    return lines(
        words("gave_up" if ended else kind, what=words.rule(facts["rule"])),
        words("why", why=words.why(facts)),
        words("done", done="") + "; ".join(done),
        words("by_rule", rule=facts["rule"], priority=facts["priority"]),
        words("nth", nth=nth + 1) if nth else None,
        words("verify_at", step=facts["verify_at"]) if facts.get("verify_at") else None,
    )


def _fix(words: Words, facts: Facts) -> str:
    return _repair("fix", words, facts)


def _critical(words: Words, facts: Facts) -> str:
    return _repair("critical", words, facts)


def _warning(words: Words, facts: Facts) -> str:
    return lines(
        words("warning", what=words.rule(facts["rule"])),
        words("why", why=words.why(facts)),
        words("done", done=words.did(facts)),
    )


def _verdict(words: Words, facts: Facts) -> str:
    verdict = words(facts["verdict"])
    compared = words.compared(facts["before"], facts["after"])
    if facts.get("back_to") is not None:
        undone = words("gone_back", step=facts["back_to"])
    elif facts["changes"]:
        undone = words("undone", changes=words.changes(facts["changes"]))
    else:
        undone = words("kept")
    return lines(
        words("verdict", verdict=verdict, compared=compared)
        if compared
        else words("verdict_alone", verdict=verdict),
        undone,
        words("why", why=words.did(facts)) if str(facts.get("action")).startswith("heard_") else None,
        words("of_repair", step=facts["repair_step"], what=words.rule(facts["rule"]))
        if facts.get("repair_step") is not None
        else None,
    )


def _trial_bad(words: Words, facts: Facts) -> str:
    reason = words.end(Reason(facts["reason"], **facts.get("ended", {})))
    both = facts.get("value") is not None and facts.get("median") is not None
    return lines(
        words(f"trial_bad_{facts['state']}", reason=reason),
        words("last_value", value=words.value(facts["value"]), median=words.value(facts["median"]))
        if both
        else None,
    )


def _advice(words: Words, facts: Facts) -> str:
    tried, split = facts["tried"], facts.get("split")
    rows = [
        bold(words("advice")),
        words(
            "advice_ended",
            rule=words.rule(facts["rule"]),
            ended=facts["ended"],
            finished=facts["finished"],
            reason=words.why(facts),
        ),
        words("advice_tried", **tried) if sum(tried.values()) else None,
    ]
    if split:
        bounds = {name: number(split[name]) for name in ("bad_bound", "good_bound")}
        named = {"name": words.setting(split["name"]), "key": f"space.{split['name']}"}
        counts = {"bad": split["bad"], "good": split["good"]}
        rows.append(words(f"advice_{split['side']}", **named, **bounds, **counts))
    if helped := facts.get("helped"):
        rows.append(words("advice_changes", changes=words.changes(helped)))
    if clips := facts.get("clips"):
        rows.append(words("advice_clips", clips=_few(clips)))
    if batch := facts.get("batch"):
        rows.append(words("advice_batch", **batch))
    if skipped := facts.get("skipped"):
        rows.append(words("advice_skipped", skipped=skipped))
    return lines(*rows, words("advice_nothing", command=facts["command"]))


def _digest(words: Words, facts: Facts) -> str:
    return lines(words("digest", **facts["counts"]), _best_line(words, facts.get("best")))


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown}, … ({len(names)})"


def _study_gone(words: Words, facts: Facts) -> str:
    return words("study_gone")


KINDS = {
    "study_gone": _study_gone,
    "study_start": _study_start,
    "study_end": _study_end,
    "study_stop": _study_stop,
    "best": _best,
    "fix": _fix,
    "critical": _critical,
    "warning": _warning,
    "verdict": _verdict,
    "trial_bad": _trial_bad,
    "advice": _advice,
    "digest": _digest,
}
