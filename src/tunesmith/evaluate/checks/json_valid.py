"""json: is the whole answer valid JSON, and valid against the schema where one is given?"""

from tunesmith.config.checks import JsonSettings
from tunesmith.evaluate.checks.json_schema import load_validator
from tunesmith.evaluate.checks.json_text import NotJson, parse_json
from tunesmith.evaluate.checks.protocol import Case, Check


def json_check(settings: JsonSettings) -> Check:
    """1.0 where the answer, trimmed, is one JSON value that its schema accepts.

    Raises ConfigError for a schema that cannot work.
    """
    schema = settings.json_schema
    validator = None if schema is None else load_validator(schema)

    def is_valid(case: Case) -> float:
        try:
            value = parse_json(case.answer)
            return float(validator is None or validator.is_valid(value))
        except (NotJson, RecursionError):  # an answer may nest deeper than Python can follow
            return 0.0

    return Check(name=settings.name or settings.kind, rule=is_valid)
