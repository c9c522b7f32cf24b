"""Processes that are the ranks of one group, on gloo, for tests."""

import multiprocessing
import os
import pickle
import queue
import socket
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.core import ranks

FORK = multiprocessing.get_context("fork")
SECONDS = 60


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun sets for one rank of a machine."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def on_ranks(
    size: int, work: Callable[[], Any], *, settings: Mapping[str, str] | None = None
) -> list[Any]:
    """What ``work`` gives on each of so many ranks, by rank; an exception where it raised one.

    A rank that dies gives its exit status.
    """
    port, results = free_port(), FORK.Queue()
    processes = [
        FORK.Process(target=_work, args=(each, size, port, work, results, settings or {}))
        for each in range(size)
    ]
    for process in processes:
        process.start()
    found: dict[int, Any] = {}
    while len(found) < size:
        try:
            number, value = results.get(timeout=1)
        except queue.Empty:
            for number, process in enumerate(processes):
                if process.exitcode not in (None, 0) and number not in found:
                    found[number] = process.exitcode
        else:
            found[number] = pickle.loads(value)
    for process in processes:
        process.join(SECONDS)
    return [found[number] for number in range(size)]


def _work(
    rank: int, size: int, port: int, work: Callable[[], Any], results: Any, settings: Any
) -> None:
    os.environ.update({**environment(rank, size, port), **settings})
    try:
        with ranks.running():
            value = work()
    except Exception as error:
        error.add_note(traceback.format_exc())
        value = error
    results.put((rank, pickle.dumps(value)))


def all_of(size: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` gives on each rank; raises the first error of a rank."""
    found = on_ranks(size, work)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found
