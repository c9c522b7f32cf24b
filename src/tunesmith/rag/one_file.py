"""One file read and cut, or why not: what is asked of a process, and what it answers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import RagError
from tunesmith.rag.chunk import Chunk, Cutter
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
