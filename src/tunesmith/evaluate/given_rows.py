"""What did a user write in other words? Files of wordings and of facts, faults with their lines."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tunesmith.data.faults import Problem, refuse
from tunesmith.data.quality.text import fold
from tunesmith.data.records import kind_of, read_records

Row = Mapping[str, object]
WORDINGS = '{"query": "...", "paraphrases": ["...", "..."]}'
FACTS = '{"query": "...", "answer": "..."}'


def read_wordings(path: Path) -> dict[str, tuple[str, ...]]:
    """Folded question -> other wordings of it; raises FaultyData with every fault.

    A question that stands twice has the wordings of both rows.
    """
    found: dict[str, tuple[str, ...]] = {}
    for row in _rows(path, _wording_problems):
        key, texts = fold(str(row["query"])), row["paraphrases"]
        assert isinstance(texts, list)
        found[key] = (*found.get(key, ()), *map(str, texts))
    return found


def read_facts(path: Path) -> list[tuple[str, str]]:
    """Questions with their answers; raises FaultyData with every fault."""
    return [(str(row["query"]), str(row["answer"])) for row in _rows(path, _fact_problems)]


def _rows(path: Path, problems_of: Callable[[Row], Iterator[Problem]]) -> list[Row]:
    """The rows of a file that has no fault and at least one row."""
    file = str(path)
    records = list(read_records(path))
    faults = [fault for record in records if (fault := record.fault(file))]
    rows = [(record.line, record.values) for record in records if record.values is not None]
    faults += [p.at(file, line) for line, row in rows for p in problems_of(row)]
    if not rows and not faults:
        faults.append(Problem("empty", "holds no row.", "Give one a line.").at(file, None))
    refuse(sorted(faults, key=lambda fault: fault.line or 0))
    return [row for _, row in rows]


def _wording_problems(row: Row) -> Iterator[Problem]:
    yield from _text_problems(row, "query", WORDINGS)
    texts = row.get("paraphrases")
    if not isinstance(texts, list) or not texts or not all(_is_text(each) for each in texts):
        message = f'"paraphrases" must be a list of texts (found: {kind_of(texts)}).'
        yield Problem("wrong_type", message, f"A row is {WORDINGS}.")


def _fact_problems(row: Row) -> Iterator[Problem]:
    for key in ("query", "answer"):
        yield from _text_problems(row, key, FACTS)


def _text_problems(row: Row, key: str, shape: str) -> Iterator[Problem]:
    if not _is_text(row.get(key)):
        found = ", ".join(row) or "nothing"
        message = f'"{key}" must be text that is not blank (found: {found}).'
        yield Problem("wrong_type", message, f"A row is {shape}.")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
