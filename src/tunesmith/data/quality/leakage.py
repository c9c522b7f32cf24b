"""Which training rows ask what a held-out row asks, exactly or nearly."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.near import NearTexts, near_those_before
from tunesmith.data.quality.text import Seen


class Leakage:
    """Held-out rows, given first with ``hold``, and then the training rows.

    The near ones are found in one index of both, where each training row is compared with the
    held-out ones alone: copies among the training rows do not hide each other.
    """

    def __init__(self) -> None:
        self._held = array("Q")
        self._file = ""
        self._exact = array("Q")
        self._texts = NearTexts()

    @property
    def held_rows(self) -> int:
        """How many held-out rows there are."""
        return len(self._held)

    def hold(self, row: Seen) -> None:
        """A held-out row; all of them come before the first training row."""
        assert not self._exact
        self._file = row.conversation.file
        self._held.append(row.question_key)
        self._texts.add(row.bare_question)

    def observe(self, row: Seen) -> None:
        """A training row."""
        if self._held:
            self._exact.append(row.question_key)
            self._texts.add(row.bare_question)

    def findings(self) -> Iterator[Finding]:
        """Training rows whose question is held out, those that are equal before the others."""
        if not self._held or not self._exact:
            return
        held, exact = np.array(self._held), np.array(self._exact)
        is_exact = np.isin(exact, held)
        if is_exact.any():
            both = many(int(np.isin(held, exact).sum()), "row")
            what = f"they ask what {both} of {self._file} ask, which should be new to the model"
            yield Finding("leakage", what, np.flatnonzero(is_exact))
        near = self._near(is_exact)
        if len(near):
            what = f"they ask nearly what rows of {self._file} ask, which should be new"
            yield Finding("leakage", what, near)

    def _near(self, is_exact: NDArray[np.bool_]) -> NDArray[np.int64]:
        near = near_those_before(self._texts.fingerprints(), self.held_rows)
        return np.flatnonzero(near & ~is_exact)
