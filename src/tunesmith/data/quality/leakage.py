"""Which training rows ask what a held-out row asks, exactly or nearly."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.near import NearTexts, near_those_before
from tunesmith.data.quality.text import Seen
from tunesmith.data.quality.turns import FEWEST_OPENED, turns

SHARE_OPENED = 0.05  # of the rows: a turn that more have is how chats open


class Leakage:
    """Held-out rows, given first with ``hold``, and then the training rows.

    A row with several answers leaks by any that has the same turns before it. The near ones are
    found in one index of both, where each training row is compared with the held-out ones alone:
    copies among the training rows do not hide each other.
    """

    def __init__(self) -> None:
        self._held = array("Q")
        self._file = ""
        self._exact = array("Q")
        self._texts = NearTexts()
        self._held_turns, self._held_numbers = array("Q"), array("q")
        self._turns, self._numbers = array("Q"), array("q")

    @property
    def held_rows(self) -> int:
        """How many held-out rows there are."""
        return len(self._held)

    def hold(self, row: Seen) -> None:
        """A held-out row; all of them come before the first training row."""
        assert not self._exact
        self._file = row.conversation.file
        keys = turns(row.conversation).trained
        self._held_turns.extend(keys)
        self._held_numbers.extend(len(self._held) for _ in keys)
        self._held.append(row.question_key)
        self._texts.add(row.bare_question)

    def observe(self, row: Seen) -> None:
        """A training row."""
        if self._held:
            keys = turns(row.conversation).trained
            self._turns.extend(keys)
            self._numbers.extend(len(self._exact) for _ in keys)
            self._exact.append(row.question_key)
            self._texts.add(row.bare_question)

    def findings(self) -> Iterator[Finding]:
        """Training rows whose question is held out, those that are equal before the others."""
        if not self._held or not self._exact:
            return
        held, exact = np.array(self._held), np.array(self._exact)
        asked, is_exact = self._sharing_turns()
        asked |= np.isin(held, exact)
        is_exact |= np.isin(exact, held)
        if is_exact.any():
            both = many(int(asked.sum()), "row")
            what = f"they ask what {both} of {self._file} ask, which should be new to the model"
            yield Finding("leakage", what, np.flatnonzero(is_exact))
        near = self._near(is_exact)
        if len(near):
            what = f"they ask nearly what rows of {self._file} ask, which should be new"
            yield Finding("leakage", what, near)

    def _sharing_turns(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which held rows, and which training rows, answer the same turn of the same chat.

        A turn of many different training rows is none: so chats open.
        """
        asked, leaks = (np.zeros(len(rows), dtype=bool) for rows in (self._held, self._exact))
        held = np.array(self._held_turns, dtype=np.uint64)
        keys = np.array(self._turns, dtype=np.uint64)
        shared = np.flatnonzero(np.isin(keys, held))
        keys, rows = keys[shared], np.array(self._numbers)[shared]
        questions = np.array(self._exact, dtype=np.uint64)[rows]
        different = np.unique(np.stack([keys, questions]), axis=1)[0]
        turn, counts = np.unique(different, return_counts=True)
        usual = turn[counts > max(FEWEST_OPENED, SHARE_OPENED * len(leaks))]
        leaks[rows[~np.isin(keys, usual)]] = True
        asked[np.array(self._held_numbers)[np.isin(held, np.setdiff1d(turn, usual))]] = True
        return asked, leaks

    def _near(self, is_exact: NDArray[np.bool_]) -> NDArray[np.int64]:
        near = near_those_before(self._texts.fingerprints(), self.held_rows)
        return np.flatnonzero(near & ~is_exact)
