"""Which probe does a file hold? Questions with choices, or texts; every fault with its line."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tunesmith.data.faults import Fault, Problem, refuse
from tunesmith.data.files.source import Source
from tunesmith.data.files.text import open_text
from tunesmith.data.records import READERS, ReadOptions, Record, kind_of, read_records
from tunesmith.evaluate.forgetting.findings import Measured
from tunesmith.evaluate.forgetting.multiple_choice import Logs, MultipleChoice, Question
from tunesmith.evaluate.forgetting.plain_text import PlainText
from tunesmith.evaluate.forgetting.spans import Reader, Span

QUESTION = '{"query": "...", "choices": ["...", "..."], "gold": 0}'
TEXT = '{"text": "..."}'
LEAST_CHARACTERS = 1000  # of a text probe: an interval needs some rows

Row = Mapping[str, object]


class Probe(Protocol):
    """Texts that both arms score, and what their scores say."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored."""

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared, from the log-likelihoods of the spans in their order."""


def read_probe(path: Path, *, name: str | None = None) -> Probe:
    """The probe of a `.jsonl` file of questions or texts, or of a `.txt` file, which is one text.

    Raises FaultyData with every fault. Its name is the file's unless given.
    """
    file = str(path)
    records = list(read_records(path, readers=PROBES))
    faults = [fault for record in records if (fault := record.fault(file))]
    rows = [(record.line, record.values) for record in records if record.values is not None]
    holds_texts = any("text" in row for _, row in rows)
    problems_of = _text_problems if holds_texts else _question_problems
    for line, row in rows:
        faults += [problem.at(file, line) for problem in problems_of(row)]
    refuse(sorted(faults, key=lambda fault: fault.line or 0))
    title = name or path.stem
    if not holds_texts:
        return MultipleChoice(title, tuple(_question(row) for _, row in rows))
    probe = PlainText(title, tuple(str(row["text"]) for _, row in rows))
    refuse(_too_little(probe, file))
    return probe


def _whole_text(source: Source, options: ReadOptions) -> Iterator[Record]:
    text, lines = open_text(source, options), []
    for number, raw in text.lines():
        line = raw if isinstance(raw, Problem) else text.decoded(raw)
        if isinstance(line, Problem):
            yield Record(number, None, line)
            return
        lines.append(line)
    yield Record(1, {"text": "".join(lines)})


def _question_problems(row: Row) -> Iterator[Problem]:
    missing = [key for key in ("query", "choices", "gold") if key not in row]
    if missing:
        found = ", ".join(row) or "nothing"
        message = f"{' and '.join(missing)} missing (found: {found})."
        yield Problem("missing_column", message, f"A row is {QUESTION}, or {TEXT}.")
        return
    query, choices, gold = row["query"], row["choices"], row["gold"]
    if not isinstance(query, str):
        yield Problem(
            "wrong_type", f'"query" must be text, this is {kind_of(query)}.', f"Write {QUESTION}."
        )
    if not isinstance(choices, list) or not all(isinstance(each, str) for each in choices):
        yield Problem("wrong_type", '"choices" must be a list of texts.', f"Write {QUESTION}.")
        return
    if len(choices) < 2 or not all(each.strip() for each in choices):
        message = f'"choices" must be two or more, none of them blank (found: {choices}).'
        yield Problem("empty", message, "Mend or remove the row.")
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
        message = (
            f'"gold" must be the place of a choice, 0 to {len(choices) - 1} (found: {gold!r}).'
        )
        yield Problem("wrong_gold", message, "Places count from 0.")


def _question(row: Row) -> Question:
    choices, gold = row["choices"], row["gold"]
    assert isinstance(choices, list)
    assert isinstance(gold, int)
    return Question(str(row["query"]), tuple(map(str, choices)), gold)


def _text_problems(row: Row) -> Iterator[Problem]:
    text = row.get("text")
    if not isinstance(text, str):
        found = ", ".join(row) or "nothing"
        message = f'"text" must be text; other rows have it (found: {found}).'
        yield Problem("wrong_type", message, "A probe holds questions or texts, not both.")
    elif not text.strip():
        yield Problem("empty", "the text is blank.", "Remove it.")


def _too_little(probe: PlainText, file: str) -> list[Fault]:
    """A fault where the texts are too short for an interval."""
    characters = sum(map(len, probe.texts))
    if characters >= LEAST_CHARACTERS:
        return []
    message = f"holds {characters} characters of text."
    remedy = f"A perplexity with an interval needs {LEAST_CHARACTERS:,} or more."
    return [Problem("too_little", message, remedy).at(file, None)]


PROBES = {".jsonl": READERS[".jsonl"], ".txt": _whole_text}
