"""All that is said of rules, repairs and the ends of trials, in English and Russian.

What happens is kept as a code with values, and becomes a sentence only where somebody reads it. A rule
brings the words of its own codes; here are those that several rules, or none, use. Their keys: "rule.NAME"
(what its fault is called), "NAME.CODE" and CODE (what a rule sees and does), "end.CODE" (why a trial ended),
"measure.NAME", "setting.NAME".
"""

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smart_tuner.repair.rule import Rule, Value
from smart_tuner.repair.rules import RULES

LANGUAGES = ("en", "ru")
Catalogue = Mapping[str, Sequence[str]]  # a template in each language
# What an alarm says that nobody attends to; the others wait for a repair of another rule.
REPORTED = frozenset(
    {
        "reported_nothing_left",
        "reported_many_repairs",
        "skip_batch",
        "advised",
        "doing_well",
        "worth_something",
        "control",
    }
)
SPEC = re.compile(r"[+]?(\.\d)?[efg%]?")

COMMON: dict[str, tuple[str, str]] = {
    "waits_for_cause": (
        "waits for {cause}, which is nearer to the cause",
        "ждёт правила {cause}: оно ближе к причине",
    ),
    "waits_for_verdict": ("waits for the verdict at step {step}", "ждёт итога на шаге {step}"),
    "searched": (
        "left to the search, which draws {names} and judges it by the measure",
        "оставлено поиску: он выбирает {names} и судит по измеренному",
    ),
    "better_half": (
        "left alone: at {value:.3g} it is in the better half of the trials, whose median is {median:.3g} at "
        "step {step}",
        "не тронуто: {value:.3g} — в лучшей половине испытаний, их медиана на шаге {step} — {median:.3g}",
    ),
    "like_peers": (
        "left alone: {measure} is {found:.3g}; the study's sound trials had {median:.3g} at step {step}",
        "не тронуто: {measure} — {found:.3g}; у здоровых испытаний исследования {median:.3g}, шаг {step}",
    ),
    "doing_well": (
        "only advised, as the run does well at {value:.3g}: {remedy}",
        "только совет, ведь обучение идёт хорошо, {value:.3g}: {remedy}",
    ),
    "worth_something": (
        "only advised, as the run is worth something: {remedy}",
        "только совет, ведь обучение уже чего-то стоит: {remedy}",
    ),
    "control": (
        "left alone on purpose, to see what becomes of it without: {remedy}",
        "намеренно не тронуто, чтобы увидеть, что будет без этого: {remedy}",
    ),
    "did_harm": (
        "left alone: this rule's repair has made this run worse before",
        "не тронуто: исправление по этому правилу уже сделало это обучение хуже",
    ),
    "advised": ("only advised: {remedy}", "только совет: {remedy}"),
    "end_trial": ("end the trial", "завершить испытание"),
    "do_nothing": ("nothing is left to try", "больше пробовать нечего"),
    "nothing_left": (
        "nothing is left to try after {tried} such repairs ({redone} of at most {most} steps were redone)",
        "больше пробовать нечего; таких исправлений: {tried} (повторено шагов: {redone} из {most} возможных)",
    ),
    "many_repairs": ("{repairs} repairs were made", "исправлений сделано: {repairs}"),
    "many_clips": (
        "{excluded} of {clips} clips would be left out: mend the data",
        "пришлось бы исключить {excluded} из {clips} записей: исправьте данные",
    ),
    "reported_nothing_left": (
        "only reported: nothing is left to try after {tried} such repairs ({redone} of at most {most} steps "
        "were redone)",
        "только сообщить: больше пробовать нечего; таких исправлений: {tried} (повторено шагов: {redone} из "
        "{most} возможных)",
    ),
    "reported_many_repairs": (
        "only reported: {repairs} repairs were made",
        "только сообщить: исправлений сделано: {repairs}",
    ),
    "skip_batch": ("skip this batch", "пропустить этот пакет"),
    "leave_out": ("leave these clips out", "исключить эти записи"),
    "from_here": (
        "change it from here: going back would redo too many steps",
        "изменить с этого места: возврат повторил бы слишком много шагов",
    ),
    "kept": ("kept", "оставлено"),
    "taken_back": ("taken back", "отменено"),
    "undone": ("undone: back to the weights before it", "отменено: возврат к весам до него"),
    "heard_kept": (
        "kept: {measure} is {found:.3g}, where {expected:.3g} was to be expected without it",
        "оставлено: {measure} — {found:.3g}, без этого ожидалось {expected:.3g}",
    ),
    "heard_taken_back": (
        "taken back: {measure} is {found:.3g}, where {expected:.3g} was to be expected without it",
        "отменено: {measure} — {found:.3g}, без этого ожидалось {expected:.3g}",
    ),
    "heard_undone": (
        "undone, back to weights from before it: {measure} is {found:.3g}, where {expected:.3g} was to be "
        "expected without it",
        "отменено, возврат к прежним весам: {measure} — {found:.3g}, без этого ожидалось {expected:.3g}",
    ),
    "trained_anew": ("trained anew from step {step}", "обучено заново с шага {step}"),
    "anew_and_tenth_rate": (
        "start over with a tenth of the learning rate",
        "начать заново, скорость обучения в 10 раз ниже",
    ),
    "anew_and_third_rate": (
        "start over with a third of the learning rate",
        "начать заново, скорость обучения втрое ниже",
    ),
    "back": ("go back", "вернуться"),
    "back_and_tenth_rate": (
        "go back and take a tenth of the learning rate",
        "вернуться и снизить скорость обучения в 10 раз",
    ),
    "back_and_third_rate": (
        "go back and take a third of the learning rate",
        "вернуться и снизить скорость обучения втрое",
    ),
    "back_and_halve_rate": (
        "go back and halve the learning rate",
        "вернуться и вдвое снизить скорость обучения",
    ),
    "end.behind": ("step {step}: behind the other trials", "шаг {step}: отстаёт от других испытаний"),
    "end.not_chosen": (
        "the search's steps went to other trials",
        "шаги поиска достались другим испытаниям",
    ),
    "end.impure": (
        "step {step}: a repair changed {names} (credit is pure)",
        "шаг {step}: исправление изменило {names} (credit = pure)",
    ),
    "end.not_finite": (
        "step {step}: loss is {loss:g}, gradient norm is {grad_norm:g}",
        "шаг {step}: потери {loss:g}, норма градиента {grad_norm:g}",
    ),
    "end.out_of_memory": (
        "it does not fit into memory: {error}",
        "не помещается в память: {error}",
    ),
    "end.no_value": ("its value is {value:g}", "его значение: {value:g}"),
    "end.worker_died": ("its worker died {times} times", "процесс погиб, раз: {times}"),
    "measure.loss": ("loss", "потери"),
    "measure.unweighted_loss": ("unweighted loss", "потери без весов"),
    "measure.grad_norm": ("gradient norm", "норма градиента"),
    "measure.loss_spread": ("spread of the loss", "разброс потерь"),
    "measure.held_out": ("held-out loss", "потери на отложенных данных"),
    "measure.value": ("value", "значение"),
    "measure.gradient": ("gradient", "градиент"),
    "measure.update": ("change of weights a step (log10)", "изменение весов за шаг (log10)"),
    "measure.silent": ("tensors without a gradient", "тензоров без градиента"),
    "measure.unchanged": ("tensors that do not change", "тензоров без изменений"),
}


def of_rules(rules: Iterable[Rule]) -> dict[str, tuple[str, str]]:
    """What rules bring; a text that is in English alone stands for both languages."""
    return {
        f"rule.{rule.name}" if code == "title" else f"{rule.name}.{code}": (text, text)
        if isinstance(text, str)
        else text
        for rule in rules
        for code, text in rule.words.items()
    }


BUILT_IN: Catalogue = COMMON | of_rules(RULES)


@dataclass(frozen=True)
class Reason:
    """Why a trial ended, in English for whoever looks with plain Optuna, and what that was made from."""

    text: str
    code: str = ""  # none where the text came from elsewhere
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    @property
    def rule(self) -> str | None:
        """The one that gave the trial up, if any did."""
        return str(self.values.get("rule")) if self.code == "given_up" else None

    def record(self) -> dict[str, Any]:
        """For JSON, beside the text."""
        return {"code": self.code, "values": dict(self.values)}


class Words:
    """One language. Raises ValueError for one that there is not.

    Args:
        extra: words that are not built in, such as those of a study's own rules and of what it measures.
    """

    def __init__(self, language: str, extra: Catalogue | None = None) -> None:
        self._at = LANGUAGES.index(language)
        self._known = {**BUILT_IN, **(extra or {})}

    def rule(self, name: str) -> str:
        """What its fault is called."""
        return self._name("rule", name)

    def setting(self, name: str) -> str:
        return self._name("setting", name)

    def measure(self, name: str) -> str:
        """Such as gradient/prenet, the gradient of a part."""
        first, _, part = name.partition("/")
        return f"{self._name('measure', first)} {part}".strip()

    def sentence(self, rule: str, code: str, values: Mapping[str, Value]) -> str:
        """What a rule saw, what was done, or why nothing was. An entry of version 0.1 has an English sentence
        for a code, which stands as it is."""
        if "remedy" in values:  # of advice: another code, and these are its values
            remedy = self._made(values, f"{rule}.{values['remedy']}", str(values["remedy"]))
            values = {**values, "remedy": str(values["remedy"]) if remedy is None else remedy}
        made = self._made(values, f"{rule}.{code}", code)
        return code if made is None else made

    def end(self, reason: Reason) -> str:
        """Why a trial ended."""
        if reason.rule is not None:
            action = str(reason.values.get("action"))
            return f"{self.rule(reason.rule)}: {self.sentence(reason.rule, action, reason.values)}"
        made = self._made(reason.values, f"end.{reason.code}")
        return reason.text if made is None else made

    def _name(self, kind: str, name: str) -> str:
        known = self._known.get(f"{kind}.{name}")
        return name if known is None else known[self._at]

    def _made(self, values: Mapping[str, Value], *keys: str) -> str | None:
        """The first of these templates, filled; None where there is none."""
        template = next((self._known[key][self._at] for key in keys if key in self._known), None)
        if template is None:
            return None
        if "measure" in values:
            values = {**values, "measure": self.measure(str(values["measure"]))}
        try:
            return _FILLED.vformat(template, (), values)
        except (ValueError, OverflowError):  # of a rule of somebody's own
            return template


class _Filled(string.Formatter):
    """Fills a template with numbers and texts, and no more, as both may come from outside."""

    def get_field(self, name: str, _: Sequence[Any], values: Mapping[str, Any]) -> tuple[Any, str]:
        return values.get(name, "?"), name

    def format_field(self, value: Any, spec: str) -> str:
        """What a database could not hold as a number, such as NaN, comes back as text."""
        return format(value, spec) if isinstance(value, int | float) and SPEC.fullmatch(spec) else str(value)


_FILLED = _Filled()
ENGLISH = Words("en")


def number(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def reason(code: str, **values: Value) -> Reason:
    """Why a trial ended, by a code "end.CODE"."""
    return Reason(ENGLISH.end(Reason("", code, values)), code, values)
