"""What follows from all rows together: warnings, rows that are dropped, rows that are held out."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tunesmith.config.run import DataSettings
from tunesmith.config.settings import EMPTY, TOO_LONG
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import Fault, Note
from tunesmith.data.quality.copies import Contradictions, Duplicates, Leakage, NearDuplicates
from tunesmith.data.quality.distribution import (
    Imbalance,
    LongTail,
    Sample,
    SystemPrompts,
    mixed_languages,
)
from tunesmith.data.quality.invisible import InvisibleCharacters
from tunesmith.data.quality.text import DataFinding, see
from tunesmith.data.quality.unsuitable import PersonalData, knowledge
from tunesmith.data.rows import Conversation
from tunesmith.data.split import Prompts, choose_held

MAX_LINES = 1000  # of a warning that are listed; its count is of all
SHOWN_PLACES = 5
# Of what is found in rows. Another number with every change of it: else a report of before that the
# cache holds is taken.
QUALITY_VERSION = 4
COPIES = ("near_duplicates", "duplicates")


@dataclass(frozen=True, slots=True, eq=False)
class Dropped:
    """Which of the rows that were seen are left out, bool [N], and what is said of them."""

    rows: NDArray[np.bool_]
    notes: tuple[Note, ...]


class Quality:
    """Sees held-out rows (``hold``), then each training row (``observe``), then tells.

    It keeps numbers and a sample of rows, about 300 bytes for a row of any length.
    """

    def __init__(self) -> None:
        self._lines, self._files = array("q"), array("L")
        self._names: dict[str, int] = {}
        self._sample, self._contradictions = Sample(), Contradictions()
        leakage, system = Leakage(), SystemPrompts()
        self._held = leakage, system
        # Those that compare rows compare those alone that stay; what others find is found once.
        self._comparing = Duplicates(), NearDuplicates(), self._contradictions
        self._alone = (
            *(leakage, Imbalance(), LongTail(), system),
            *(PersonalData(), InvisibleCharacters()),
        )
        self._found: list[DataFinding] | None = None

    def hold(self, conversation: Conversation) -> None:
        """A row of the file that is held out or tested on; all of them come first."""
        row = see(conversation)
        for observer in self._held:
            observer.hold(row)

    def observe(self, conversation: Conversation) -> None:
        """The next training row."""
        self._found = None
        self._lines.append(conversation.line)
        self._files.append(self._names.setdefault(conversation.file, len(self._names)))
        row = see(conversation)
        for observer in (self._sample, *self._comparing, *self._alone):
            observer.observe(row)

    def drop(self, codes: Sequence[str]) -> Dropped:
        """The rows that the warnings of these codes are about, one code after the other.

        Copies leave last: of each group one stays that no other code takes away.
        """
        rows = np.zeros(len(self._lines), dtype=bool)
        notes = []
        for code in sorted(codes, key=COPIES.__contains__):
            about = self._about(code, rows)
            new = about[~rows[about]]
            rows[new] = True
            if len(new):
                what = f"rows left out by --data.drop {code}"
                notes.append(self._note(DataFinding("dropped", what, new)))
        return Dropped(rows, tuple(notes))

    def _about(self, code: str, out: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows that leave if this is dropped: of contradictions, those without a majority."""
        if code == "contradictions":
            return self._contradictions.outvoted(out)
        codes = COPIES if code == "near_duplicates" else (code,)
        rows = [finding.rows for finding in self._findings(out) if finding.code in codes]
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)

    def warnings(self, dropped: Dropped | None = None) -> tuple[Note, ...]:
        """What there is to know of the rows that are not dropped."""
        out = dropped.rows if dropped else np.zeros(len(self._lines), dtype=bool)
        notes = []
        for finding in self._findings(out):
            left = finding.rows[~out[finding.rows]]
            count = None if finding.count is None else int(np.count_nonzero(~out))
            if len(left) or count:
                notes.append(self._note(replace(finding, rows=left, count=count)))
        return tuple(notes)

    def _findings(self, out: NDArray[np.bool_]) -> Iterator[DataFinding]:
        """All findings; rows are compared with those alone that are not ``out``.

        Rows that are wholly equal are not near duplicates as well.
        """
        if self._found is None:
            alone = (finding for observer in self._alone for finding in observer.findings())
            self._found = [*alone, *mixed_languages(self._sample), *knowledge(self._sample)]
        equal = np.zeros(0, dtype=np.int64)
        for finding in chain.from_iterable(each.findings(out) for each in self._comparing):
            if finding.code == "duplicates":
                equal = finding.rows
            if finding.code == "near_duplicates":
                finding = replace(finding, rows=np.setdiff1d(finding.rows, equal))
            if len(finding.rows):
                yield finding
        yield from self._found

    def _note(self, finding: DataFinding) -> Note:
        """The finding with its lines, which the message lists where there are several files."""
        count = len(finding.rows) if finding.count is None else finding.count
        rows = finding.rows[:MAX_LINES].tolist()
        message = finding.message
        names = list(self._names)
        if len(names) > 1 and rows:
            places = (f"{names[self._files[i]]}:{self._lines[i]}" for i in rows[:SHOWN_PLACES])
            more = ", ..." if len(rows) > SHOWN_PLACES else ""
            message = f"{message}: {', '.join(places)}{more}"
            rows = []
        lines = tuple(self._lines[i] for i in rows)
        return Note(finding.code, message, count, lines, held=finding.held)


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Numbers of the conversations that are ``dropped`` by name, and of those ``held`` out.

    ``problem`` is why a run would refuse all of them.
    """

    dropped: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    problem: Fault | None = None


DATASET_REPORT = TypeAdapter(DatasetReport)


def analyze(
    train: Sequence[Iterable[Conversation]],
    held: Iterable[Conversation],
    settings: DataSettings,
    *,
    seed: int,
    long: NDArray[np.int64],
    seen: Callable[[], object],
) -> DatasetReport:
    """See every conversation once: first those of a file that is held out, then the others.

    ``long`` are training conversations that are left out for their length. ``seen`` is called for
    each and may raise.
    """
    quality, prompts = Quality(), Prompts()
    share = settings.held_share
    for conversation in held:
        quality.hold(conversation)
        seen()
    for conversation in chain.from_iterable(train):
        quality.observe(conversation)
        if share:
            prompts.observe(conversation)
        seen()
    dropped = quality.drop([name for name in settings.drop if name not in (TOO_LONG, EMPTY)])
    notes = (*dropped.notes, *quality.warnings(dropped))
    del quality  # some hundred bytes for each row
    left, out = ~dropped.rows, tuple(np.flatnonzero(dropped.rows).tolist())
    if out and not left.any():
        return DatasetReport(out, notes=notes, problem=_all_dropped(len(left), settings))
    left[long] = False
    kept = np.flatnonzero(left)
    if not share or not len(kept):
        return DatasetReport(out, notes=notes)
    try:
        chosen, groups = choose_held(prompts.groups().of(kept), share=share, seed=seed)
    except DataError as error:
        problem = Fault(error.code, error.message, error.remedy)
        return DatasetReport(out, notes=notes, problem=problem)
    return DatasetReport(out, tuple(kept[chosen].tolist()), (*notes, *groups.notes))


def _all_dropped(rows: int, settings: DataSettings) -> Fault:
    what = f"all {pluralize(rows, 'row')} were left out by --data.drop {','.join(settings.drop)}"
    return Fault(
        "no_rows",
        f"no row is left to train on: {what}.",
        "Name less, or fix the rows: `tunesmith data check` lists them.",
    )
