"""One file into two, for training and evaluation: by cluster, by row, or by a column's values."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.faults import Fault, Note, Problem, refuse
from tunesmith.data.formats.table import shown
from tunesmith.data.quality.text import digest
from tunesmith.data.read import scan
from tunesmith.data.records import read_records
from tunesmith.data.rows import Conversation
from tunesmith.data.split import Groups, Prompts, choose_held
from tunesmith.errors import DataError
from tunesmith.files import replace_folder

CLUSTER, ROW = "cluster", "row"
ANSWER = "answer"
TRAIN, EVAL = "train.jsonl", "eval.jsonl"
LINES = (".jsonl", ".ndjson")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How a file is split: ``by`` cluster, row or a column; alike in the values of ``stratify``."""

    file: str
    out: str
    share: float = 0.1
    by: str = CLUSTER
    stratify: str | None = None
    seed: int = 0
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitDone:
    """The two files, their rows, and how many groups of rows were kept together.

    ``strata`` counts the rows on both sides of each value, where there are any.
    """

    train: Path
    held: Path
    rows: tuple[int, int]
    groups: int
    largest: int
    strata: dict[str, tuple[int, int]]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, object]:
        """The document of `data split --json`."""
        return {
            "train": {"file": str(self.train), "rows": self.rows[0]},
            "eval": {"file": str(self.held), "rows": self.rows[1]},
            "groups": self.groups,
            "largest_group": self.largest,
            "strata": {
                name: {"train": train, "eval": held} for name, (train, held) in self.strata.items()
            },
            "notes": [{"code": n.code, "message": n.message, "count": n.count} for n in self.notes],
        }


def split_data(settings: SplitSettings) -> SplitDone:
    """Write both files into a new folder; rows of JSON lines stay as they are, byte for byte.

    Raises DataError where the folder is there, a column is missing, or one side would be empty,
    and FaultyData for a file that a run would refuse.
    """
    out = Path(settings.out)
    _require_free(out)
    reading = scan(settings.file, format=settings.format, columns=settings.columns)
    refuse(reading.faults)
    rows = reading.conversations
    columns = [name for name in (settings.by, settings.stratify) if _is_column(name)]
    values = _columns(settings.file, columns)
    strata = _strata(rows, settings.stratify, values)
    groups = _groups(rows, settings.by, values)
    held = _held(groups, settings, strata)
    is_held = {row.line: bool(out) for row, out in zip(rows, held, strict=True)}
    _write(Path(settings.file), out, is_held)
    return SplitDone(
        train=out / TRAIN,
        held=out / EVAL,
        rows=(int((~held).sum()), int(held.sum())),
        groups=len(groups.sizes),
        largest=int(groups.sizes.max()),
        strata=_counted(strata, held),
        notes=(*reading.notes, *groups.notes),
    )


def _held(
    groups: Groups, settings: SplitSettings, strata: Sequence[str] | None
) -> NDArray[np.bool_]:
    try:
        return choose_held(groups, share=settings.share, seed=settings.seed, strata=strata)
    except DataError as error:
        remedy = f"Add other rows, or split by something else than `{settings.by}` with --by."
        raise DataError(error.message, remedy=remedy, code=error.code) from None


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{out}: exists already, and is not overwritten.",
            remedy="Name another folder with --out, or remove this one.",
            code="exists",
        )


def _is_column(name: str | None) -> bool:
    return name is not None and name not in (CLUSTER, ROW, ANSWER)


def _columns(file: str, names: Sequence[str | None]) -> dict[str, dict[int, str]]:
    """The values of columns by line, as text; raises FaultyData where rows lack one."""
    values: dict[str, dict[int, str]] = {str(name): {} for name in names}
    faults: list[Fault] = []
    for record in read_records(Path(file)) if values else ():
        for name, found in values.items():
            if record.values is not None and name in record.values:
                found[record.line] = _text(record.values[name])
            elif record.values is not None:
                what = f'"{name}" is missing (found: {shown(record.values)}).'
                problem = Problem("missing_column", what, "Name a column that every row has.")
                faults.append(problem.at(file, record.line))
    if faults and not all(values.values()):  # a wrong name, told once
        faults = list({fault.message: replace(fault, line=None) for fault in faults}.values())
    refuse(faults)
    return values


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _strata(
    rows: Sequence[Conversation], name: str | None, values: Mapping[str, Mapping[int, str]]
) -> list[str] | None:
    if name is None:
        return None
    if name == ANSWER:
        return [row.messages[row.supervised[-1]].content.strip() for row in rows]
    return [values[name][row.line] for row in rows]


def _groups(
    rows: Sequence[Conversation], by: str, values: Mapping[str, Mapping[int, str]]
) -> Groups:
    """Which rows stay together, and for each a number that does not depend on their order."""
    if by == CLUSTER:
        prompts = Prompts()
        for row in rows:
            prompts.observe(row)
        return prompts.groups()
    if by == ROW:
        return Groups(np.arange(len(rows)), _row_keys(rows), noun="row")
    texts = [values[by][row.line] for row in rows]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    keys = np.array([digest(text) for text in texts], dtype=np.uint64)
    number = np.array([numbers[text] for text in texts], dtype=np.int64)
    return Groups(number, keys, noun=f"value of `{by}`")


def _row_keys(rows: Sequence[Conversation]) -> NDArray[np.uint64]:
    """A number for each row; equal rows have different ones, so that each is drawn by itself."""
    seen: Counter[int] = Counter()
    keys = []
    for row in rows:
        key = digest(*(text for m in row.messages for text in (m.role, m.content)))
        keys.append(digest(str(key), str(seen[key])))
        seen[key] += 1
    return np.array(keys, dtype=np.uint64)


def _counted(strata: Sequence[str] | None, held: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    sides = list(zip(strata or (), held.tolist(), strict=False))
    train = Counter(name for name, out in sides if not out)
    evaluation = Counter(name for name, out in sides if out)
    return {name: (train[name], evaluation[name]) for name in sorted({*train, *evaluation})}


def _write(file: Path, out: Path, is_held: Mapping[int, bool]) -> None:
    """Both files in ``out``, which is complete or absent."""
    raw: Callable[[Path], Iterator[tuple[int, bytes]]]
    raw = _lines if file.suffix.lower() in LINES else _records

    def fill(folder: Path) -> None:
        with (folder / TRAIN).open("wb") as train, (folder / EVAL).open("wb") as held:
            for line, row in raw(file):
                if line in is_held:
                    (held if is_held[line] else train).write(row)

    if out.is_dir():
        out.rmdir()  # it is empty
    try:
        replace_folder(out, fill)
    except OSError as error:
        remedy = "Name another folder with --out."
        raise DataError(f"{out} cannot be written: {error.strerror}.", remedy=remedy) from None


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Rows as they stand in the file; the last one may lack its line's end."""
    with file.open("rb") as lines:
        for line, raw in enumerate(lines, start=1):
            row = raw.removeprefix(BYTE_ORDER_MARK) if line == 1 else raw
            yield line, row if row.endswith(b"\n") else row + b"\n"


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Rows of other files as JSON lines."""
    for record in read_records(file):
        if record.values is not None:
            text = json.dumps(record.values, ensure_ascii=False, default=str)
            yield record.line, f"{text}\n".encode()
