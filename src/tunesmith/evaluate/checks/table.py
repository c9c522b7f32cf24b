"""Which kinds of checks exist, and which check does a setting ask for?"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tunesmith.config.checks import (
    CheckSettings,
    EndsWithSettings,
    ExactSettings,
    JsonSettings,
    LabelSettings,
    RegexSettings,
)
from tunesmith.config.settings import Settings
from tunesmith.errors import ConfigError
from tunesmith.evaluate.checks.ends_with import ends_with_check
from tunesmith.evaluate.checks.exact import exact_check
from tunesmith.evaluate.checks.json_valid import json_check
from tunesmith.evaluate.checks.label import label_check
from tunesmith.evaluate.checks.protocol import Check
from tunesmith.evaluate.checks.regex import regex_check

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
        _row(ExactSettings, exact_check),
        _row(LabelSettings, label_check),
        _row(JsonSettings, json_check),
        _row(RegexSettings, regex_check),
        _row(EndsWithSettings, ends_with_check),
    )
)


def build_checks(settings: Sequence[CheckSettings]) -> tuple[Check, ...]:
    """The checks, in order; raises ConfigError with every fault of a schema and repeated names."""
    checks: list[Check] = []
    faults: list[str] = []
    for number, one in enumerate(settings):
        try:
            checks.append(CHECKS[one.kind](one))
        except ConfigError as error:
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
