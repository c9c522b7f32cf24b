"""One command line of the program, run in this process as `python -m tunesmith` would run it."""

import contextlib
import io
import json
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "120",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> object:
        """Standard output as the one JSON document that `--json` promises."""
        return json.loads(self.out)


@contextlib.contextmanager
def workplace(root: Path) -> Iterator[None]:
    """Commands in the block run in ``root``, with a cache of their own in ``root/home``."""
    added = {**ENVIRONMENT, "TUNESMITH_HOME": str(root / "home")}
    with mock.patch.dict(os.environ, added), contextlib.chdir(root):
        yield


def run(words: Sequence[object], *, lines: str = "") -> Ended:
    """Run `tunesmith WORDS` with ``lines`` on standard input."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["tunesmith", *map(str, words)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdin", io.StringIO(lines)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        status = _status()
    return Ended(status, out.getvalue(), err.getvalue())


def run_well(words: Sequence[object], *, lines: str = "") -> Ended:
    """``run``; AssertionError with what was written where the command refuses."""
    ended = run(words, lines=lines)
    assert ended.status == 0, f"{' '.join(map(str, words))}: {ended.out}{ended.err}"
    return ended


def _status() -> int:
    try:
        runpy.run_module("tunesmith", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
