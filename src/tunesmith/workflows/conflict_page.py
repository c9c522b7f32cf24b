"""The page of what clashes between adapters, where the user wants it."""

from collections.abc import Mapping
from pathlib import Path

from tunesmith import files
from tunesmith.report.conflicts_page import conflicts_page


def write_page(document: Mapping[str, object], path: Path) -> Path:
    """Write the page of a `Found.to_json` to ``path``; RunError where that cannot be written."""
    files.write_text(path, conflicts_page(document))
    return path
