"""docs/checks.md explains every kind of check and every key that it takes."""

from pathlib import Path

from tunesmith.config.checks import CheckSettings
from tunesmith.config.settings import nested_models

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def test_every_kind_and_key_is_on_the_page():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for model in nested_models(CheckSettings):
        kind = model.model_fields["kind"].default
        (row,) = [line for line in lines if line.startswith(f"| `{kind}` |")]
        for name, field in model.model_fields.items():
            if name not in ("kind", "name"):
                assert f"`{field.alias or name}`" in row
