"""The page of a run, of several that were compared, or of a clash, written where it belongs."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tunesmith.core import files
from tunesmith.core.language import current_language, require_language
from tunesmith.core.progress import Event, Notice
from tunesmith.report.comparison_page import comparison_page, is_comparison
from tunesmith.report.conflicts_page import conflicts_page
from tunesmith.report.run_page import run_page
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.history import read_records


def write_report(path: Path, *, language: str | None = None) -> Path:
    """Write `report.html` into a run's or a comparison's folder; the file comes back.

    It is in the ``language``, or the one that people are addressed in. Raises RunError for a folder
    that holds neither, UsageError for an unknown language.
    """
    language = current_language() if language is None else require_language(language)
    if is_comparison(path):
        text = comparison_page(path, language=language)
    else:
        text = run_page(read_records(path), language=language)
    files.write_text(path / REPORT, text)
    return path / REPORT


def draw_report(path: Path, emit: Callable[[Event], None]) -> None:
    """Write the page of what has just ended; a failure to draw it is reported, and nothing lost."""
    try:
        write_report(path)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        said = f"{REPORT} could not be drawn ({why}); `tunesmith report {path}` draws it again"
        emit(Notice("report", said))


def write_page(document: Mapping[str, object], path: Path) -> Path:
    """Write the page of a `Found.to_json` to ``path``; RunError where that cannot be written."""
    files.write_text(path, conflicts_page(document, language=current_language()))
    return path
