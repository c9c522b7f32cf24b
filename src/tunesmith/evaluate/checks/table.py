"""Which kinds of checks exist, and which check does a setting ask for?"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tunesmith.config import checks as settings_of
from tunesmith.config.checks import CheckSettings
from tunesmith.config.settings import Settings
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.evaluate.checks.bleu import bleu_check
from tunesmith.evaluate.checks.chrf import chrf_check
from tunesmith.evaluate.checks.contains import contains_check
from tunesmith.evaluate.checks.ends_with import ends_with_check
from tunesmith.evaluate.checks.exact import exact_check
from tunesmith.evaluate.checks.json_valid import json_check
from tunesmith.evaluate.checks.judge import judge_check
from tunesmith.evaluate.checks.label import label_check
from tunesmith.evaluate.checks.language import language_check
from tunesmith.evaluate.checks.max_sentences import max_sentences_check
from tunesmith.evaluate.checks.max_words import max_words_check
from tunesmith.evaluate.checks.not_contains import not_contains_check
from tunesmith.evaluate.checks.number import number_check
from tunesmith.evaluate.checks.protocol import Check
from tunesmith.evaluate.checks.python_function import python_check
from tunesmith.evaluate.checks.regex import regex_check
from tunesmith.evaluate.checks.rouge import rouge_check
from tunesmith.evaluate.checks.similarity import similarity_check
from tunesmith.evaluate.checks.slots import slots_check
from tunesmith.evaluate.checks.sql import sql_check
from tunesmith.evaluate.checks.starts_with import starts_with_check
from tunesmith.evaluate.checks.steps import steps_check
from tunesmith.evaluate.checks.style import style_check

Factory = Callable[[CheckSettings], Check]
S = TypeVar("S", bound=Settings)


def _row(settings: type[S], build: Callable[[S], Check]) -> tuple[str, Factory]:
    """One kind: its name, and its factory, which the type checker holds to its settings."""

    def factory(given: CheckSettings) -> Check:
        assert isinstance(given, settings)
        return build(given)

    return settings.model_fields["kind"].default, factory


CHECKS: Mapping[str, Factory] = dict(
    (
        _row(settings_of.ExactSettings, exact_check),
        _row(settings_of.LabelSettings, label_check),
        _row(settings_of.NumberSettings, number_check),
        _row(settings_of.JsonSettings, json_check),
        _row(settings_of.RegexSettings, regex_check),
        _row(settings_of.StartsWithSettings, starts_with_check),
        _row(settings_of.EndsWithSettings, ends_with_check),
        _row(settings_of.ContainsSettings, contains_check),
        _row(settings_of.NotContainsSettings, not_contains_check),
        _row(settings_of.MaxWordsSettings, max_words_check),
        _row(settings_of.MaxSentencesSettings, max_sentences_check),
        _row(settings_of.LanguageSettings, language_check),
        _row(settings_of.StepsSettings, steps_check),
        _row(settings_of.SlotsSettings, slots_check),
        _row(settings_of.RougeSettings, rouge_check),
        _row(settings_of.BleuSettings, bleu_check),
        _row(settings_of.ChrfSettings, chrf_check),
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
