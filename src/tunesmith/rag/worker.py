"""A process that reads and cuts files: what a file may do to it, it does to no one else.

`python -m tunesmith.rag.worker`, started by `reading.py`; pickles go in and out. Its memory is
limited, and it ends when its input does.
"""

import contextlib
import hashlib
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import RagError
from tunesmith.rag.chunk import Chunk, Cutter, Cutting
from tunesmith.rag.read.table import read_document

MOST_MEMORY_BYTES = 3 * 2**30  # of addresses, libraries included


@dataclass(frozen=True, slots=True)
class Order:
    """A file with the content that it had when it was listed."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file was not read: ``message`` goes on behind its name."""

    message: str
    remedy: str
    code: str


def work(order: Order, cutter: Cutter) -> tuple[str, list[Chunk]] | Refused:
    """Kind and passages of a file, or why there are none."""
    try:
        data = order.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != order.sha256:
            raise RagError("changed while it was read.", remedy="Index again.", code="changed")
        document = read_document(order.path.name, data)
        return document.kind, cutter.cut(document)
    except RagError as error:
        return Refused(error.message, error.remedy, error.code)
    except OSError as error:
        return Refused(f"cannot be read: {error.strerror}.", "Mend its rights.", "file_system")
    except MemoryError:
        most = f"{MOST_MEMORY_BYTES >> 30} GB of memory"
        return Refused(f"takes more than {most} to read.", "Split it.", "too_large")
    except Exception as error:  # a library's, about a file that nobody foresaw
        what = f"{type(error).__name__}: {error}"[:200]
        return Refused(f"cannot be read ({what}).", "Save it anew, or leave it out.", "damaged")


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
