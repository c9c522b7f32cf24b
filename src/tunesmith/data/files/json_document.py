"""The rows of one JSON document, an element at a time: a list, or an object that holds one."""

import codecs
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

from tunesmith.core.encodings import UTF8
from tunesmith.data.faults import Fault, Note
from tunesmith.data.files.source import Broken, wrong_part
from tunesmith.data.files.text import MARK, TOO_LARGE, Text
from tunesmith.data.rows import MAX_ROW_BYTES, Record, UniqueKeys, broken_json, given_twice, row_of

SPACE = re.compile(r"[ \t\r\n]*")
WRONG = re.compile("[\udc00-\udcff]")
ROWS, INDENT = re.compile(r"\[\s*[\[{]"), 1024
REMEDY = "What follows is not read. Fix the document, or write one object on each line."
IN_ONE_LINE = Note(
    "numbered_rows", "rows share lines: they are numbered by their place in the list"
)
IN_COLUMNS = Note(
    "columns_of_lists",
    "the document holds columns, each a list: a row has the values at one place of all of them",
)
NO_ROWS = Fault("empty_file", "holds no rows.", "Name a file with rows.")
# A fault or a number so near to the end of what was read may be the end's.
MARGIN = 16


class _Window:
    """The part of a document that is being parsed; ``line`` is that of the next character."""

    def __init__(self, chunks: Iterator[bytes], encoding: str) -> None:
        self._chunks, self._encoding = chunks, encoding
        # Of a text in another encoding the wrong bytes are marked already.
        mark = MARK if encoding == UTF8 else "surrogatepass"
        self._decoder = codecs.getincrementaldecoder(UTF8)(mark)
        self._keys = UniqueKeys()
        self._decode = json.JSONDecoder(object_pairs_hook=self._keys.make).raw_decode
        self._text, self._at, self._ended = "", 0, False
        self.line = 1
        self.place: int | None = None

    @property
    def number(self) -> int:
        """The line of what comes next; its place, where elements are numbered by that."""
        return self.place or self.line

    def opens_rows(self) -> bool:
        """Whether a list of objects or of lists comes next."""
        while len(self._text) - self._at < INDENT and self._more():
            pass
        return ROWS.match(self._text, self._at) is not None

    def peek(self) -> str:
        """The next character that is no space; nothing at the end."""
        while True:
            self._to(SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, mark: str) -> None:
        """Step over ``mark``, which has to come next."""
        if (found := self.peek()) != mark:
            shown = f"`{found}`" if found else "the end"
            self.refuse(f"`{mark}` was expected, not {shown}")
        self._to(self._at + 1)

    def value(self) -> tuple[object, Fault | None]:
        """The next value, and what is wrong with it as a whole; raises Broken in its middle."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos + MARGIN > len(self._text) or "Unterminated" in error.msg
                if not cut or self._ended:
                    raise self._broken(error.msg.removesuffix(" at"), error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self._broken(str(error), self._at) from None
            else:
                may_go_on = isinstance(value, int | float) and end + MARGIN > len(self._text)
                if not may_go_on or self._ended:
                    return value, self._taken(end)
            self._more()
            if len(self._text) - self._at > MAX_ROW_BYTES:
                raise Broken(TOO_LARGE.code, TOO_LARGE.message, TOO_LARGE.remedy)

    def _taken(self, end: int) -> Fault | None:
        wrong = WRONG.search(self._text, self._at, end)
        problem = self._keys.problem(REMEDY)
        if wrong:
            what = f"holds a byte that is not {self._encoding} (0x{ord(wrong[0]) - 0xDC00:02x})."
            problem = Fault("not_in_encoding", what, "Name another with --data.encoding.")
        self._to(end)
        return problem

    def _to(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Read on; whether there was more."""
        if self._ended:
            return False
        chunk = next(self._chunks, b"")
        self._ended = not chunk
        self._text = self._text[self._at :] + self._decoder.decode(chunk, final=self._ended)
        self._at = 0
        return not self._ended

    def refuse(self, reason: str) -> NoReturn:
        """Raise Broken at what comes next."""
        raise self._broken(reason, self._at)

    def _broken(self, reason: str, at: int) -> Broken:
        self._to(max(at, self._at))
        column = self._at - self._text.rfind("\n", 0, self._at)
        problem = broken_json(f"{reason} at column {column}", REMEDY)
        return Broken(problem.code, problem.message, problem.remedy)


def read_document(
    text: Text, part: str | None, lists_of_a_row: Collection[str]
) -> Iterator[Record]:
    """Every element of the document's list of rows; of an object, the list named ``part``.

    An object with several lists of rows is a fault; one without any is one row itself, as it is
    with one of ``lists_of_a_row``.
    """
    window = _Window(text.chunks(), text.encoding)
    try:
        if window.peek() == "[":
            yield from _elements(window)
        else:
            yield from _object(window, part, lists_of_a_row)
        window.place = None
        if left := window.peek():
            window.refuse(f"`{left}` after the end of the document")
    except Broken as error:
        yield Record(window.number, None, error.problem)


def rows_in_columns(values: Mapping[str, object]) -> int:
    """How many rows an object holds whose columns are lists, all as long, of texts and numbers.

    So `datasets` and pandas write a table as one object; 0 where it is none.
    """
    columns = list(values.values())
    if len(columns) < 2 or not all(isinstance(column, list) for column in columns):
        return 0
    cells = [column for column in columns if isinstance(column, list)]
    is_flat = not any(isinstance(cell, dict | list) for column in cells for cell in column)
    return len(cells[0]) if is_flat and len({len(column) for column in cells}) == 1 else 0


def holds_rows(head: bytes, lists_of_a_row: Collection[str]) -> bool:
    """Whether an object that begins so has a list of rows."""
    window = _Window(iter([head]), UTF8)
    try:
        window.skip("{")
        while window.peek() == '"':
            key, _ = window.value()
            window.skip(":")
            window.peek()
            if key not in lists_of_a_row and window.opens_rows():
                return True
            window.value()
            if window.peek() == ",":
                window.skip(",")
    except Broken:
        pass
    return False


def _elements(window: _Window) -> Iterator[Record]:
    """The elements of a list; the first waits for the second, which shows how to number them."""
    window.skip("[")
    held: Record | None = None
    count = 0
    if window.peek() == "]":
        yield Record(0, None, NO_ROWS)
    while window.peek() not in ("]", ""):
        count += 1
        if held is not None:
            if window.line == held.line:
                window.place = count
                yield Record(0, notes=(IN_ONE_LINE,))
            yield replace(held, line=1) if window.place else held
            held = None
        elif window.place is not None:
            window.place = count
        number = window.number
        value, problem = window.value()
        row = problem or row_of(value)
        record = Record(number, None, row) if isinstance(row, Fault) else Record(number, row)
        if count == 1:
            held = record
        else:
            yield record
        if window.peek() != ",":
            break
        window.skip(",")
    if held is not None:
        yield held
    window.skip("]")


def _object(window: _Window, part: str | None, lists_of_a_row: Collection[str]) -> Iterator[Record]:
    line = window.line
    values: dict[str, object] = {}
    lists: list[str] = []
    twice: set[str] = set()
    window.skip("{")
    while window.peek() == '"':
        key, _ = window.value()
        assert isinstance(key, str)
        if key in values or key in lists:
            twice.add(key)
        window.skip(":")
        window.peek()
        if key in lists_of_a_row or not window.opens_rows():
            values[key], problem = window.value()
            if problem:
                yield Record(line, None, problem)
        else:
            lists.append(key)
            is_wanted = key == part or (part is None and len(lists) == 1)
            yield from (record for record in _listed(window, key) if is_wanted)
        if window.peek() != ",":
            break
        window.skip(",")
    window.skip("}")
    if twice:
        yield Record(line, None, given_twice(twice, "Give each key once."))
    elif not lists:
        yield from _alone(line, values)
    elif (part is None and len(lists) > 1) or (part is not None and part not in lists):
        several, first = f"holds {len(lists)} lists of rows", "train" if "train" in lists else ""
        wrong = wrong_part(lists, part, noun="list of rows", several=several, first=first)
        yield Record(0, None, Fault(*wrong))


def _listed(window: _Window, name: str) -> Iterator[Record]:
    """The elements of a list of the document, and that the rows are these."""
    note = Note("list_in_document", f"the rows are the list `{name}` of the document")
    yield Record(0, notes=(note,))
    yield from _elements(window)
    window.place = None


def _alone(line: int, values: dict[str, object]) -> Iterator[Record]:
    """The rows of an object without a list of rows: those of its columns, or itself."""
    count = rows_in_columns(values)
    if not count:
        yield Record(line, values)
        return
    yield Record(0, notes=(IN_COLUMNS,))
    columns = {name: column for name, column in values.items() if isinstance(column, list)}
    for place in range(count):
        yield Record(place + 1, {name: column[place] for name, column in columns.items()})
