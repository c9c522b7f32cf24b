"""Files read and cut in processes of their own, in order, while others are embedded."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tunesmith.core.workers import Lost, Pool
from tunesmith.retrieval.chunk import Chunk, ChunkConfig, Cutter
from tunesmith.retrieval.read import MAX_MEMORY_BYTES, FileOrder, Refused, work

MAX_SECONDS = 120.0  # for one file
MAX_PROCESSES = 4

Answer = tuple[str, list[Chunk]] | Refused


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: by how many processes, each for how long at most.

    With ``again`` those that could not be read before are tried once more.
    """

    processes: int = 1
    max_seconds: float = MAX_SECONDS
    retry_failed: bool = False


def read_files(
    orders: Sequence[FileOrder], model: Path, chunk_config: ChunkConfig, reading: Reading
) -> Generator[Answer]:
    """Each file's answer in order; raises RagError where files cannot be cut at all.

    What a file may do to the process that reads it, it does to no other: one that takes too long
    or too much memory is refused.
    """

    def refused(lost: Lost) -> Answer:
        if lost.timed_out:
            why = f"took longer than {reading.max_seconds:.0f} s to read."
            return Refused(why, "Split it, or leave it out.", "too_slow")
        why = "ended the process that read it; it may be damaged, or unfold into too much."
        return Refused(why, "Save it anew, or leave it out.", "damaged")

    pool = Pool[FileOrder, Answer](
        f"{__name__}:reader",
        (model, chunk_config),
        processes=max(1, min(reading.processes, MAX_PROCESSES, len(orders))),
        lost=refused,
        seconds=reading.max_seconds,
        memory_bytes=MAX_MEMORY_BYTES,
    )
    with pool:
        yield from pool.map(orders)


def reader(model: Path, chunk_config: ChunkConfig) -> Callable[[FileOrder], Answer]:
    """What a process does with each file."""
    return partial(work, cutter=Cutter(model, chunk_config))
