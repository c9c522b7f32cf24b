"""64 clients for some minutes, one that leaves in mid-answer, and a server that is killed."""

import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.mixed import make_adapters, questions
from benchmarks.serving.processes import Answer, Running, ask, free_port, ours, running

CLIENTS, LEAVES = 64, 0.1  # a share of the answers that nobody waits for
WAIT_SECONDS, FULL = 0.5, 429
OWN_SECONDS = """
import sys, time
start = time.perf_counter()
import tunesmith.generation.scheduler, tunesmith.server.app, uvicorn
from tunesmith.generation.shared_base import SharedBase
imported = time.perf_counter()
SharedBase.open(sys.argv[1])
print(imported - start, time.perf_counter() - imported)
"""


def load(model: str, folder: Path, *, rank: int, minutes: float, threads: int) -> dict[str, Any]:
    """Clients that ask base and adapters in turns, with short and long answers."""
    folders = make_adapters(model, folder, rank=rank)
    port, given = free_port(), {name: str(each) for name, each in folders.items()}
    command = ours(model, port, threads=threads, adapters=given, force=True)
    with running(command, port, threads=threads) as server:
        name = str(Path(model).name)
        end = time.perf_counter() + 60 * minutes
        answers: list[Answer] = []
        clients = [
            threading.Thread(
                target=_client, args=(server.url, number, [name, *folders], end, answers)
            )
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        memory = _watch(server, end)
        for client in clients:
            client.join()
        busy = [server.counter(f"tunesmith_{n}_requests") for n in ("running", "waiting")]
    first = sorted(each.first for each in answers if each.first is not None)
    statuses = Counter(each.status for each in answers)
    errors = [a.error for a in answers if a.error and a.status != FULL]
    return {
        "requests": len(answers),
        "statuses": {str(status): count for status, count in statuses.items()},
        "errors": errors[:5],
        "error_count": len(errors),
        "tokens": sum(each.tokens or len(each.pieces) for each in answers),
        "first_token_seconds": {"p50": _quantile(first, 0.5), "p95": _quantile(first, 0.95)},
        "resident_bytes_by_minute": memory,
        "left_behind": sum(busy),
    }


def _client(url: str, number: int, models: Sequence[str], end: float, into: list[Answer]) -> None:
    draw, asked = random.Random(number), questions(CLIENTS)
    while time.perf_counter() < end:
        body = {
            "model": draw.choice(models),
            "messages": [{"role": "user", "content": draw.choice(asked)}],
            "max_tokens": draw.choice([8, 32, 128]),
            "temperature": draw.choice([0, 0.7]),
            "seed": draw.randrange(1000),
        }
        leaves = draw.randrange(1, 8) if draw.random() < LEAVES else None
        answer = ask(url, body, leave_after=leaves)
        into.append(answer)
        if answer.status == FULL:
            time.sleep(WAIT_SECONDS)


def _watch(server: Running, end: float) -> list[float]:
    """The mean of the resident bytes in each minute."""
    minutes: list[list[int]] = []
    start = time.perf_counter()
    while (now := time.perf_counter()) < end:
        if int((now - start) // 60) == len(minutes):
            minutes.append([])
        minutes[-1].append(server.resident_bytes())
        time.sleep(WAIT_SECONDS)
    return [statistics.mean(each) for each in minutes]


def _quantile(values: Sequence[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def leaving(model: str, *, threads: int, repeats: int = 10) -> dict[str, Any]:
    """Tokens that are made after a client that closed its connection in mid-answer."""
    port = free_port()
    with running(ours(model, port, threads=threads), port, threads=threads) as server:
        body = {
            "model": Path(model).name,
            "messages": [{"role": "user", "content": "Count to one thousand in words."}],
            "max_tokens": 1000,
            "temperature": 1.5,  # it does not end soon
        }
        more = []
        for number in range(repeats):
            before = server.counter("tunesmith_made_tokens_total")
            ask(server.url, {**body, "seed": number, "max_tokens": 5})
            answer = ask(server.url, {**body, "seed": number}, leave_after=10)
            time.sleep(WAIT_SECONDS)
            made = server.counter("tunesmith_made_tokens_total") - before - 5
            more.append(int(made) - len(answer.pieces))
        rows = server.counter("tunesmith_running_requests")
    return {"tokens_after_leaving": sorted(more), "rows_left": rows}


def killed(model: str, *, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds from the start after a kill -9 to an answer, and those of importing and loading."""
    restarts, own = list[float](), list[list[float]]()
    port = free_port()
    body: Mapping[str, Any] = {
        "model": Path(model).name,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 1,
    }
    for repeat in range(repeats + 1):
        with running(ours(model, port, threads=threads), port, threads=threads) as server:
            answer = ask(server.url, body)
            assert not answer.error, answer.error
            if repeat:
                restarts.append(time.perf_counter() - server.started)
                own.append(_own_seconds(model))
            threading.Timer(0.2, server.process.kill).start()
            ask(server.url, {**body, "max_tokens": 500})
            server.process.wait()
    imports, loads = ([pair[i] for pair in own] for i in (0, 1))
    return {
        "restart_seconds": restarts,
        "import_seconds": imports,
        "load_seconds": loads,
        "more": statistics.median(
            r - i - each for r, i, each in zip(restarts, imports, loads, strict=True)
        ),
    }


def _own_seconds(model: str) -> list[float]:
    command = [sys.executable, "-c", OWN_SECONDS, model]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(each) for each in done.stdout.split()[-2:]]
