"""Questions with their answers, as a file of rows holds them."""

from collections.abc import Iterator, Mapping

from tunesmith.data.faults import FaultBook, Problem, refuse
from tunesmith.data.formats.table import shown
from tunesmith.data.records import read_records
from tunesmith.errors import DataError
from tunesmith.rag.questions import Question

# Ours, then what others call them; SQuAD's rows are read as they are.
NAMES = {
    "question": ("question", "query", "prompt", "instruction"),
    "answer": ("answers", "answer", "completion", "response", "output"),
    "source": ("source", "document", "file"),
    "context": ("context", "passage"),
}


def read_questions(
    file: str, *, columns: Mapping[str, str] | None = None, group: str | None = None
) -> list[Question]:
    """Every question of a file; raises FaultyData with all faults, DataError where it is empty.

    ``columns`` maps our names to the file's. ``group`` is a column that holds questions together.
    A row with an empty answer (null, a text or a list) is a question that nothing answers; without
    any such column it is a fault.
    """
    mapped = {name: (columns[name],) for name in columns} if columns else {}
    if unknown := mapped.keys() - NAMES.keys():
        raise DataError(
            f"--data.map: {', '.join(sorted(unknown))} is no column of questions.",
            remedy=f"There are {', '.join(NAMES)}.",
        )
    names = {**NAMES, **mapped, "group": (group,) if group else ()}
    book, found = FaultBook(), []
    for record in read_records(file):
        if record.values is None:
            book.add(filter(None, [record.fault(file)]))
            continue
        problem = _problem(record.values, names)
        if problem is not None:
            book.add([problem.at(record.file or file, record.line)])
            continue
        found.append(_question(record.values, names, record.line))
    refuse(book.faults())
    if not found:
        raise DataError(f"{file} holds no questions.", remedy="Write some into it.")
    return found


Names = Mapping[str, tuple[str, ...]]


def _problem(row: Mapping[str, object], names: Names) -> Problem | None:
    for ours in ("question", "answer", "group"):
        if names[ours] and not any(name in row for name in names[ours]):
            name = ours if ours in names[ours] else names[ours][0]
            what = f'"{name}" is missing (found: {shown(row)}).'
            empty = ', empty ("") where nothing answers it' if ours == "answer" else ""
            remedy = f"Add it{empty}, or map it with --data.map {ours}=COLUMN."
            return Problem("missing_column", what, remedy)
    if not _text(row, names["question"]):
        return Problem("no_question", "the question is empty.", "Write one, or remove the row.")
    return None


def _question(row: Mapping[str, object], names: Names, line: int) -> Question:
    answers = next((row[name] for name in names["answer"] if name in row), None)
    return Question(
        text=_text(row, names["question"]) or "",
        answers=() if row.get("is_impossible") is True else tuple(_answers(answers)),
        source=_text(row, names["source"]),
        context=_text(row, names["context"]),
        group=_text(row, names["group"]),
        line=line,
    )


def _answers(value: object) -> Iterator[str]:
    """The texts of an answer, of a list of them, or of SQuAD's `{"text": [...]}`; each once."""
    if isinstance(value, Mapping):
        value = value.get("text")
    values = value if isinstance(value, list | tuple) else [value]
    texts = (each.get("text") if isinstance(each, Mapping) else each for each in values)
    yield from dict.fromkeys(str(text).strip() for text in texts if text not in (None, ""))


def _text(row: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    value = next((row[name] for name in names if name in row), None)
    return str(value).strip() or None if value is not None else None
