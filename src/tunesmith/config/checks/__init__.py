"""The settings of each check that an answer must pass, told apart by `kind`."""

from typing import Annotated

from pydantic import Field

from tunesmith.config.checks.by_code import PythonSettings, SqlSettings
from tunesmith.config.checks.by_model import JudgeSettings, SimilaritySettings, StyleSettings
from tunesmith.config.checks.by_reference import (
    BleuSettings,
    ChrfSettings,
    ExactSettings,
    LabelSettings,
    NumberSettings,
    RougeSettings,
    SlotsSettings,
    StepsSettings,
)
from tunesmith.config.checks.by_text import (
    ContainsSettings,
    EndsWithSettings,
    JsonSettings,
    LanguageSettings,
    MaxSentencesSettings,
    MaxWordsSettings,
    NotContainsSettings,
    RegexSettings,
    StartsWithSettings,
)

CheckSettings = Annotated[
    ExactSettings
    | LabelSettings
    | NumberSettings
    | JsonSettings
    | RegexSettings
    | StartsWithSettings
    | EndsWithSettings
    | ContainsSettings
    | NotContainsSettings
    | MaxWordsSettings
    | MaxSentencesSettings
    | LanguageSettings
    | StepsSettings
    | SlotsSettings
    | RougeSettings
    | BleuSettings
    | ChrfSettings
    | SimilaritySettings
    | StyleSettings
    | SqlSettings
    | PythonSettings
    | JudgeSettings,
    Field(discriminator="kind"),
]

__all__ = [
    "BleuSettings",
    "CheckSettings",
    "ChrfSettings",
    "ContainsSettings",
    "EndsWithSettings",
    "ExactSettings",
    "JsonSettings",
    "JudgeSettings",
    "LabelSettings",
    "LanguageSettings",
    "MaxSentencesSettings",
    "MaxWordsSettings",
    "NotContainsSettings",
    "NumberSettings",
    "PythonSettings",
    "RegexSettings",
    "RougeSettings",
    "SimilaritySettings",
    "SlotsSettings",
    "SqlSettings",
    "StartsWithSettings",
    "StepsSettings",
    "StyleSettings",
]
