"""json: is the whole answer valid JSON, and valid against the schema where one is given?"""

from dataclasses import dataclass

from jsonschema.protocols import Validator

from tunesmith.config.checks import JsonSettings
from tunesmith.evaluate.checks.json_schema import load_validator
from tunesmith.evaluate.checks.json_text import NotJson, parse_json


@dataclass(frozen=True, slots=True)
class JsonCheck:
    """1.0 where the answer, trimmed, is one JSON value that its schema accepts."""

    name: str
    validator: Validator | None

    def score(self, answer: str, reference: str | None) -> float:  # noqa: ARG002 (protocol)
        """1.0 for valid JSON that fits the schema, else 0.0; the reference does not count."""
        try:
            value = parse_json(answer)
            return float(self.validator is None or self.validator.is_valid(value))
        except (NotJson, RecursionError):  # an answer may nest deeper than Python can follow
            return 0.0

    def reference_fault(self, reference: str | None) -> str | None:  # noqa: ARG002 (protocol)
        """None: no reference is needed."""
        return None


def json_check(settings: JsonSettings) -> JsonCheck:
    """The check that these settings describe; raises ConfigError for a schema that cannot work."""
    schema = settings.json_schema
    validator = None if schema is None else load_validator(schema)
    return JsonCheck(settings.name or settings.kind, validator=validator)
