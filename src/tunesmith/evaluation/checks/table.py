"""Which kinds of checks exist, and which check does a setting ask for?"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from tunesmith.config import checks as settings_of
from tunesmith.config import checks_reference as by_reference
from tunesmith.config.checks import CheckSettings
from tunesmith.config.settings import Settings
from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.checks.json_text import json_check
from tunesmith.evaluation.checks.judge import judge_check
from tunesmith.evaluation.checks.label import label_check
from tunesmith.evaluation.checks.numbers import number_check, steps_check
from tunesmith.evaluation.checks.python_function import python_check
from tunesmith.evaluation.checks.refusal import refusal_check
from tunesmith.evaluation.checks.similarity import (
    bleu_check,
    chrf_check,
    rouge_check,
    similarity_check,
)
from tunesmith.evaluation.checks.slots import slots_check
from tunesmith.evaluation.checks.sql import sql_check
from tunesmith.evaluation.checks.style import style_check
from tunesmith.evaluation.checks.text_rules import (
    contains_check,
    ends_with_check,
    exact_check,
    language_check,
    max_sentences_check,
    max_words_check,
    not_contains_check,
    regex_check,
    starts_with_check,
)
from tunesmith.evaluation.checks.tool_call import tool_call_check

Factory = Callable[[CheckSettings], Check]
S = TypeVar("S", bound=Settings)


def _row(settings: type[S], build: Callable[[S], Check]) -> tuple[str, Factory]:
    """One kind: its name, and its factory, which the type checker holds to its settings.

    The factory names the check as the settings do, or by its kind.
    """

    def factory(given: CheckSettings) -> Check:
        assert isinstance(given, settings)
        return replace(build(given), name=given.name or given.kind)

    return settings.model_fields["kind"].default, factory


CHECKS: Mapping[str, Factory] = dict(
    (
        _row(by_reference.ExactSettings, exact_check),
        _row(by_reference.LabelSettings, label_check),
        _row(by_reference.NumberSettings, number_check),
        _row(settings_of.JsonSettings, json_check),
        _row(settings_of.RegexSettings, regex_check),
        _row(settings_of.StartsWithSettings, starts_with_check),
        _row(settings_of.EndsWithSettings, ends_with_check),
        _row(settings_of.ContainsSettings, contains_check),
        _row(settings_of.NotContainsSettings, not_contains_check),
        _row(settings_of.MaxWordsSettings, max_words_check),
        _row(settings_of.MaxSentencesSettings, max_sentences_check),
        _row(settings_of.LanguageSettings, language_check),
        _row(settings_of.ToolCallSettings, tool_call_check),
        _row(settings_of.RefusalSettings, refusal_check),
        _row(by_reference.StepsSettings, steps_check),
        _row(by_reference.SlotsSettings, slots_check),
        _row(by_reference.RougeSettings, rouge_check),
        _row(by_reference.BleuSettings, bleu_check),
        _row(by_reference.ChrfSettings, chrf_check),
        _row(settings_of.SimilaritySettings, similarity_check),
        _row(settings_of.StyleSettings, style_check),
        _row(settings_of.SqlSettings, sql_check),
        _row(settings_of.PythonSettings, python_check),
        _row(settings_of.JudgeSettings, judge_check),
    )
)


def build_checks(settings: Sequence[CheckSettings]) -> tuple[Check, ...]:
    """The checks, in order; raises ConfigError with every fault of every check."""
    checks: list[Check] = []
    faults: list[str] = []
    for number, one in enumerate(settings):
        try:
            checks.append(CHECKS[one.kind](one))
        except TunesmithError as error:
            faults.append(f"evaluate.checks.{number}: {error}")
    names = Counter(one.name or one.kind for one in settings)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        faults.append(
            f"evaluate.checks: more than one check is called {', '.join(repeated)}. "
            "Give each its own `name`."
        )
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(checks)
