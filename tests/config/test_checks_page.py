"""docs/checks.md explains every kind of check and each of its keys, and its examples hold."""

from pathlib import Path

import pytest
import yaml

from tunesmith.config import load_run_config
from tunesmith.config.checks import CheckSettings
from tunesmith.config.settings import nested_models
from tunesmith.evaluation.checks.table import build_checks

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"
LINES = PAGE.read_text(encoding="utf-8").splitlines()
EXAMPLES = [line.strip("|").split(" | ") for line in LINES if line.startswith("| `{kind: ")]
WITHOUT_EXAMPLE = {"similarity", "style", "python", "judge"}  # which need more than a line


def cell(text):
    """A cell as it is meant: line ends, and white space that only quotes can keep."""
    text = text.strip().replace("<br>", "\n")
    return text.strip("`") if text.startswith("`") else text


def test_every_kind_and_key_is_on_the_page():
    for model in nested_models(CheckSettings):
        kind = model.model_fields["kind"].default
        (row,) = [line for line in LINES if line.startswith(f"| `{kind}` |")]
        for name, field in model.model_fields.items():
            if name not in ("kind", "name"):
                assert f"`{field.alias or name}`" in row


def test_every_kind_that_a_line_can_show_has_an_example():
    shown = {yaml.safe_load(cell(check))["kind"] for check, *_ in EXAMPLES}
    kinds = {model.model_fields["kind"].default for model in nested_models(CheckSettings)}
    assert shown == kinds - WITHOUT_EXAMPLE


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
def test_examples_score_what_the_page_says(example):
    check, own, good, bad = map(cell, example)
    values = {"data": {"train": "a"}, "evaluate": {"checks": [yaml.safe_load(check)]}}
    (built,) = build_checks(load_run_config(None, values).evaluate.checks)
    assert built.reference_fault(own) is None
    assert built.score(good, own) == 1.0
    assert built.score(bad, own) < 1.0
