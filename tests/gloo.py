"""Ranks for tests: processes of this one's memory, which gloo connects."""

import multiprocessing
import os
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

SECONDS = 60


def on_ranks(size, work, *arguments):
    """What ``work(rank, *arguments)`` gives on each of ``size`` ranks, by rank.

    Raises AssertionError with what a rank raised.
    """
    # Forked, so that nothing is imported again; this process has no thread that could hold a lock.
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, f"{rank}.pt") for rank in range(size)]
        processes = [
            context.Process(target=_rank, args=(rank, size, place, work, arguments))
            for rank, place in enumerate(places)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
            process.kill()
        assert all(place.exists() for place in places), "a rank ended without a result, or hangs"
        found = [torch.load(place, weights_only=False) for place in places]
    errors = [text for is_made, text in found if not is_made]
    assert not errors, "\n".join(errors)
    return [value for _, value in found]


def _rank(rank, size, place, work, arguments):
    torch.set_num_threads(1)
    limit = timedelta(seconds=SECONDS)
    try:
        store = f"file://{place.parent}/store"
        distributed.init_process_group(
            "gloo", init_method=store, rank=rank, world_size=size, timeout=limit
        )
        result = (True, work(rank, *arguments))
    except BaseException:
        result = (False, f"rank {rank}: {traceback.format_exc()}")
    part = place.with_suffix(".part")
    torch.save(result, part)
    part.rename(place)
    os._exit(0)
