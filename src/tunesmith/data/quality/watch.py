"""Everything worth knowing of rows, from one look at each: the warnings, and what to drop."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.faults import Note
from tunesmith.data.quality.contradictions import Contradictions
from tunesmith.data.quality.duplicates import Duplicates
from tunesmith.data.quality.finding import Finding, Observer
from tunesmith.data.quality.imbalance import Imbalance
from tunesmith.data.quality.knowledge import knowledge
from tunesmith.data.quality.languages import mixed_languages
from tunesmith.data.quality.leakage import Leakage
from tunesmith.data.quality.long_tail import LongTail
from tunesmith.data.quality.near_duplicates import NearDuplicates
from tunesmith.data.quality.personal_data import PersonalData
from tunesmith.data.quality.sample import Sample
from tunesmith.data.quality.system_prompt import SystemPrompts
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation

MOST_LINES = 1000  # of a warning that are listed; its count is of all
SHOWN_PLACES = 5
COPIES = ("near_duplicates", "duplicates")


@dataclass(frozen=True, slots=True, eq=False)
class Dropped:
    """Which of the rows that were seen are left out, bool [N], and what is said of them."""

    rows: NDArray[np.bool_]
    notes: tuple[Note, ...]

    def kept(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """The others, of the same rows in the same order."""
        return [row for row, out in zip(conversations, self.rows, strict=True) if not out]


class Quality:
    """Sees held-out rows (``hold``), then each training row (``observe``), then tells.

    It keeps numbers and a sample of rows, about 300 bytes for a row of any length.
    """

    def __init__(self) -> None:
        self._lines, self._files = array("q"), array("L")
        self._names: dict[str, int] = {}
        self._sample = Sample()
        self._contradictions = Contradictions()
        self._leakage, self._system = Leakage(), SystemPrompts()
        self._compared: dict[str, Duplicates | NearDuplicates | Contradictions] = {
            "duplicates": Duplicates(),
            "near_duplicates": NearDuplicates(),
            "contradictions": self._contradictions,
        }
        self._alone: dict[str, Observer] = {
            "leakage": self._leakage,
            "imbalance": Imbalance(),
            "long_tail": LongTail(),
            "system_prompt": self._system,
            "personal_data": PersonalData(),
        }
        self._found: dict[str, list[Finding]] | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Everything that may be told."""
        return (*self._compared, *self._alone, "languages", "knowledge")

    def hold(self, conversation: Conversation) -> None:
        """A row of the file that is held out or tested on; all of them come first."""
        row = see(conversation)
        self._leakage.hold(row)
        self._system.hold(row)

    def observe(self, conversation: Conversation) -> None:
        """The next training row."""
        self._found = None
        self._lines.append(conversation.line)
        self._files.append(self._names.setdefault(conversation.file, len(self._names)))
        row = see(conversation)
        self._sample.observe(row)
        for observer in (*self._compared.values(), *self._alone.values()):
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
                notes.append(self._note(Finding("dropped", what, new)))
        return Dropped(rows, tuple(notes))

    def _about(self, code: str, out: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows that leave if this is dropped: of contradictions, those without a majority."""
        if code == "contradictions":
            return self._contradictions.outvoted(out)
        codes = COPIES if code == "near_duplicates" else (code,)
        found = self._findings(out)
        rows = [finding.rows for each in codes for finding in found.get(each, [])]
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)

    def warnings(self, dropped: Dropped | None = None) -> tuple[Note, ...]:
        """What there is to know of the rows that are not dropped."""
        out = dropped.rows if dropped else np.zeros(len(self._lines), dtype=bool)
        notes = []
        for finding in (f for found in self._findings(out).values() for f in found):
            left = finding.rows[~out[finding.rows]]
            count = None if finding.count is None else int(np.count_nonzero(~out))
            if len(left) or count:
                notes.append(self._note(Finding(finding.code, finding.message, left, count)))
        return tuple(notes)

    def _findings(self, out: NDArray[np.bool_]) -> dict[str, list[Finding]]:
        """All findings by code; rows are compared with those alone that are not ``out``.

        Rows that are wholly equal are not near duplicates as well.
        """
        if self._found is None:
            self._found = {
                **{code: list(each.findings()) for code, each in self._alone.items()},
                "languages": list(mixed_languages(self._sample)),
                "knowledge": list(knowledge(self._sample)),
            }
        found = {code: list(each.findings(out)) for code, each in self._compared.items()}
        equal = [finding.rows for finding in found["duplicates"]]
        found["near_duplicates"] = list(_without(found["near_duplicates"], equal))
        return {**found, **self._found}

    def _note(self, finding: Finding) -> Note:
        """The finding with its lines, which stand in the message where files are several."""
        count = len(finding.rows) if finding.count is None else finding.count
        rows = finding.rows[:MOST_LINES].tolist()
        message = finding.message
        names = list(self._names)
        if len(names) > 1 and rows:
            places = (f"{names[self._files[i]]}:{self._lines[i]}" for i in rows[:SHOWN_PLACES])
            more = ", ..." if len(rows) > SHOWN_PLACES else ""
            message = f"{message}: {', '.join(places)}{more}"
            rows = []
        return Note(finding.code, message, count, tuple(self._lines[i] for i in rows))


def _without(findings: Sequence[Finding], rows: Sequence[NDArray[np.int64]]) -> Iterator[Finding]:
    for finding in findings:
        left = np.setdiff1d(finding.rows, np.concatenate([np.zeros(0, np.int64), *rows]))
        if len(left):
            yield Finding(finding.code, finding.message, left)
