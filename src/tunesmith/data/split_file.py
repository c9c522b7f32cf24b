"""One file into two, for training and evaluation: by cluster, by row, or by a column's values."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import DataError
from tunesmith.core.files import replace_folder, require_replaceable
from tunesmith.data.faults import Fault, Faults, Note, RowReport, refuse
from tunesmith.data.files.json_text import lines_to_copy
from tunesmith.data.formats.layout import TOOL_COLUMNS, renamed, shown
from tunesmith.data.formats.table import FORMATS
from tunesmith.data.quality.text import digest
from tunesmith.data.read import Layout, SourceRequest, open_records, parse_record
from tunesmith.data.records import exists, read_records
from tunesmith.data.rows import Conversation, Record, is_of_a_list
from tunesmith.data.split import Groups, Prompts, choose_held
from tunesmith.data.token_cache import Content, content_of

TRAIN, EVAL = "train.jsonl", "eval.jsonl"


def write_sides(
    asked: SourceRequest, out: Path, is_held: Sequence[bool | None], *, content: Content | None
) -> None:
    """Both files in ``out``, which is complete or absent; ``is_held`` has a value for each row,
    None for one that is dropped.

    Raises DataError where it cannot be written, or where the source is no longer the ``content``
    that was seen.
    """

    def fill(folder: Path) -> None:
        count = 0
        with (folder / TRAIN).open("wb") as train, (folder / EVAL).open("wb") as held:
            for row in _rows(asked):
                if count < len(is_held) and (side := is_held[count]) is not None:
                    (held if side else train).write(row)
                count += 1
        if count != len(is_held) or content_of(asked) != content:
            what = f"{asked.file}: changed while it was read."
            remedy = "Run it again once nothing writes to it any more."
            raise DataError(what, remedy=remedy, code="changed")

    if out.is_dir():
        out.rmdir()  # it is empty
    try:
        replace_folder(out, fill)
    except OSError as error:
        remedy = "Name another folder with --out."
        raise DataError(f"{out} cannot be written: {error.strerror}.", remedy=remedy) from None


def _rows(asked: SourceRequest) -> Iterator[bytes]:
    """Each row with its line's end, in the order in which they are read.

    Where columns are mapped, by the user or by their headings, rows have our names for them.
    """
    layout, _, mapped = open_records(asked)
    if layout.columns:
        yield from (
            _as_json(under_our_names(record, layout))
            for record in mapped
            if record.values is not None
        )
        return
    text = lines_to_copy(asked.file, asked.options)
    if text is None:
        records = read_records(asked.file, asked.reading)
        yield from (_as_json(record.values) for record in records if record.values is not None)
        return
    for _, raw in text.lines():
        if not isinstance(raw, Fault) and raw.strip():
            yield raw if raw.endswith(b"\n") else raw + b"\n"


PAIRS = {"query-response", "alpaca"}  # formats that are written as pairs or as messages
_COLUMNS = {name for format in FORMATS.values() for name in (*format.columns, *format.optional)}


def under_our_names(record: Record, layout: Layout) -> dict[str, object]:
    """A row as it can be read without a map: prompt and completion, messages, or as its format is.

    Columns that are not used stay, unless one has the name of a column that another format uses.
    """
    format = FORMATS[str(layout.format)]
    values = format.named(renamed(record.values or {}, layout.columns))
    rest = {name: value for name, value in values.items() if name not in _COLUMNS}
    conversation = parse_record(record, layout).value
    if format.name not in PAIRS or conversation is None:
        return {name: value for name, value in values.items() if format.uses(name)} | rest
    tools = {name: values[name] for name in TOOL_COLUMNS if values.get(name)}
    turns = [(message.role, message.content) for message in conversation.messages]
    if [role for role, _ in turns] == ["user", "assistant"]:
        return {"prompt": turns[0][1], "completion": turns[1][1]} | tools | rest
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"messages": messages} | tools | rest


def _as_json(row: dict[str, object]) -> bytes:
    value = list(row.values()) if is_of_a_list(row) else row
    try:
        return f"{json.dumps(value, ensure_ascii=False, default=str)}\n".encode()
    except UnicodeEncodeError:  # half of a character, in a column that is not read
        return f"{json.dumps(value, default=str)}\n".encode()


CLUSTER, ROW = "cluster", "row"
ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How a file is split: ``by`` cluster, row or a column; alike in the values of ``stratify``."""

    asked: SourceRequest
    out: str
    share: float = 0.1
    by: str = CLUSTER
    stratify: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SplitDone:
    """The two files, their rows, and how many groups of rows were kept together.

    ``strata`` counts the rows on both sides of each value, where there are any. ``is_mapped``: the
    columns had other names than ours, which they have now.
    """

    train: Path
    held: Path
    rows: tuple[int, int]
    groups: int
    largest: int
    strata: dict[str, tuple[int, int]]
    notes: tuple[Note, ...]
    is_mapped: bool = False

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

    Where columns are mapped the rows have our names for them, and need no map any more.

    Raises DataError where the folder is there, a column is missing, or one side would be empty,
    RunError for the working folder, and FaultyData for a file that a run would refuse.
    """
    asked, out = settings.asked, Path(settings.out)
    require_replaceable(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        remedy = "Name another folder with --out, or remove this one."
        what = f"{out}: exists already, and is not overwritten."
        raise DataError(what, remedy=remedy, code="exists")
    content = content_of(asked) if exists(asked.file) else None
    seen = _seen(settings)
    strata = None if settings.stratify is None else seen.values[settings.stratify]
    held, groups = _held(_groups(seen, settings.by), settings, strata)
    sides = iter(held.tolist())
    is_held = [next(sides) if is_kept else None for is_kept in seen.kept]
    write_sides(asked, out, is_held, content=content)
    return SplitDone(
        train=out / TRAIN,
        held=out / EVAL,
        rows=(int((~held).sum()), int(held.sum())),
        groups=len(groups.sizes),
        largest=int(groups.sizes.max()),
        strata=_counted(strata, held),
        notes=(*seen.notes, *groups.notes),
        is_mapped=seen.is_mapped,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of every row: its value of each name that was asked for, and its prompt.

    ``kept`` is False for rows that are dropped, of which nothing else is known.
    """

    values: Mapping[str, list[str]]
    keys: Sequence[int]
    prompts: Prompts
    kept: Sequence[bool]
    notes: tuple[Note, ...]
    is_mapped: bool


def _seen(settings: SplitSettings) -> _Seen:
    """Every row looked at once; raises FaultyData with every fault."""
    names = [] if settings.by in (CLUSTER, ROW) else [settings.by]
    names += [] if settings.stratify is None else [settings.stratify]
    values: dict[str, list[str]] = {name: [] for name in names}
    asked = settings.asked
    layout, faults, records = open_records(asked)
    report, lacking = RowReport(), RowReport()
    report.add_faults(faults)
    prompts, keys = Prompts(), array("Q")
    kept: list[bool] = []
    for record in records:
        conversation = report.add(parse_record(record, layout))
        if record.values is not None:
            kept.append(conversation is not None)
        if conversation is None or record.values is None:
            continue
        for name, column in values.items():
            value = _value(record.values, conversation, name)
            column.append(value or "")
            if value is None:
                what = f'"{name}" is missing (found: {shown(record.values)}).'
                problem = Fault("missing_column", what, "Name a column that every row has.")
                lacking.add_faults([problem.at(record.file or asked.file, record.line)])
        if settings.by == CLUSTER:
            prompts.observe(conversation)
        said = (text for m in conversation.messages for text in (m.role, m.content))
        keys.append(digest(*said))
    refuse(report.faults)
    refuse(_once(lacking.faults, rows=len(keys)))
    return _Seen(values, keys, prompts, kept, report.notes, bool(layout.columns))


def _once(lacking: Faults, *, rows: int) -> Faults:
    """A name that no row has is a wrong name, and reported once."""
    if lacking.count < rows:
        return lacking
    whole = {fault.message: replace(fault, line=None) for fault in lacking.listed}
    return Faults(tuple(whole.values()))


def _value(row: Mapping[str, object], conversation: Conversation, name: str) -> str | None:
    """What a row has under a name, as text; of the name `answer`, what is learned last."""
    if name == ANSWER:
        return conversation.messages[conversation.supervised[-1]].content.strip()
    if name not in row:
        return None
    value = row[name]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _held(
    groups: Groups, settings: SplitSettings, strata: Sequence[str] | None
) -> tuple[NDArray[np.bool_], Groups]:
    try:
        return choose_held(groups, share=settings.share, seed=settings.seed, strata=strata)
    except DataError as error:
        others = [each for each in (CLUSTER, ROW) if each != settings.by]
        by = f", or split otherwise with --by {' or --by '.join(others)}"
        remedy = f"Add other rows{by * (len(groups.number) > 1)}."
        raise DataError(error.message, remedy=remedy, code=error.code) from None


def _groups(seen: _Seen, by: str) -> Groups:
    """Which rows stay together, and for each a number that does not depend on their order."""
    if by == CLUSTER:
        return seen.prompts.groups()
    if by == ROW:
        return Groups(np.arange(len(seen.keys)), _row_keys(seen.keys), noun="row")
    keys = np.array([digest(text) for text in seen.values[by]], dtype=np.uint64)
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return Groups(first[number], keys, noun=f"value of `{by}`")


def _row_keys(keys: Sequence[int]) -> NDArray[np.uint64]:
    """A number for each row; equal rows have different ones, so that each is drawn by itself."""
    seen: Counter[int] = Counter()
    own = []
    for key in keys:
        own.append(digest(str(key), str(seen[key])))
        seen[key] += 1
    return np.array(own, dtype=np.uint64)


def _counted(strata: Sequence[str] | None, held: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    sides = list(zip(strata or (), held.tolist(), strict=False))
    train = Counter(name for name, out in sides if not out)
    evaluation = Counter(name for name, out in sides if out)
    return {name: (train[name], evaluation[name]) for name in sorted({*train, *evaluation})}
