"""A process that reads and cuts files: what a file may do to it, it does to no one else.

`python -m tunesmith.retrieval.worker`, started by `reading.py`; pickles go in and out. Its memory
is limited, and it ends when its input does.
"""

import contextlib
import os
import pickle
import signal
import sys
from pathlib import Path

from tunesmith.core.errors import RagError
from tunesmith.retrieval.chunk import Cutter, Cutting
from tunesmith.retrieval.read import MOST_MEMORY_BYTES, Refused, work


def main() -> None:
    """Answer every order until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    with contextlib.suppress(ImportError):  # where there are no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    orders = sys.stdin.buffer
    with contextlib.suppress(EOFError, BrokenPipeError):
        model, cutting = pickle.load(orders)
        cutter = _cutter(model, cutting)
        while True:
            order = pickle.load(orders)
            answer = work(order, cutter) if isinstance(cutter, Cutter) else cutter
            pickle.dump(answer, answers, protocol=5)
            answers.flush()


def _cutter(model: Path, cutting: Cutting) -> Cutter | Refused:
    try:
        return Cutter(model, cutting)
    except RagError as error:
        return Refused(error.message, error.remedy, "cutter")


if __name__ == "__main__":
    main()
