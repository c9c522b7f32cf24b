"""Of several ranks only the first prints: the others end here, with the status that it has."""

import contextlib
from collections.abc import Iterator

from tunesmith.core.progress import status_of_cancel
from tunesmith.core.ranks import ReportedElsewhere, speaks


@contextlib.contextmanager
def first_speaks() -> Iterator[None]:
    """Inside is work that ranks may share; after it SystemExit ends a process that must not print.

    An error that this rank is to report passes through.
    """
    try:
        yield
    except ReportedElsewhere:
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        if speaks():
            raise
        raise SystemExit(status_of_cancel()) from None
    if not speaks():
        raise SystemExit(0)
