"""What an observer says of rows, and what an observer is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.text import Seen


def no_rows() -> NDArray[np.int64]:
    """The rows of a finding that is about all of them."""
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Something worth knowing: ``rows`` are the numbers of the rows it is about, in order.

    ``count`` is told where it is about no rows in particular.
    """

    code: str
    message: str
    rows: NDArray[np.int64] = field(default_factory=no_rows)
    count: int | None = None


class Observer(Protocol):
    """Looks at each row once, in order, and keeps little of it."""

    def observe(self, row: Seen) -> None:
        """The next row."""

    def findings(self) -> Iterator[Finding]:
        """What there is to say of the rows so far."""
