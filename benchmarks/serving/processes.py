"""Servers in processes of their own, and a client that reads an answer as it comes."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_SECONDS = 300
SERVE = """
import json, sys
import torch, tunesmith as ts
given = json.loads(sys.argv[1])
torch.set_num_threads(given.pop("threads"))
with ts.serve(**given) as server:
    print(server.url, flush=True)
    server.wait()
"""


@dataclass(slots=True)
class Running:
    """A server's process and address."""

    process: "subprocess.Popen[str]"
    url: str
    started: float  # time.perf_counter() before its process was

    def get(self, path: str) -> str:
        """A page of it, such as /metrics; OSError while it does not listen."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != http.client.OK:
                raise OSError(f"{path}: {answer.status}")
            return body
        finally:
            connection.close()

    def counter(self, name: str) -> float:
        """A number of /metrics."""
        lines = self.get("/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    def resident_bytes(self) -> int:
        """VmRSS of the process now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(found.split()[1]) * 1024

    def wait(self) -> None:
        """Return once it answers /health."""
        while True:
            try:
                self.get("/health")
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server ended: {self.process.args!r}") from None
                if time.perf_counter() - self.started > START_SECONDS:
                    raise
                time.sleep(0.02)
            else:
                return


@contextmanager
def running(command: Sequence[str], port: int, *, threads: int) -> Iterator[Running]:
    """A server that listens at this port; it is ended with the block."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "3000"}
    server = Running(
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env, text=True),
        f"http://127.0.0.1:{port}",
        time.perf_counter(),
    )
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def ours(model: str, port: int, *, threads: int, **options: object) -> list[str]:
    """The command of this program's server; ``options`` are those of ``ts.serve``."""
    given = {"model": model, "port": port, "threads": threads, **options}
    return [sys.executable, "-c", SERVE, json.dumps(given)]


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass(slots=True)
class Answer:
    """What came of one request; seconds count from its start."""

    status: int
    pieces: list[str] = field(default_factory=list)
    finish: str | None = None
    first: float | None = None
    seconds: float = 0.0
    tokens: int = 0
    error: str = ""
    scores: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)  # by token

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.pieces)


def ask(url: str, body: Mapping[str, Any], *, leave_after: int | None = None) -> Answer:
    """Stream a chat's answer; the connection is closed after so many pieces, if given."""
    place, start = urlsplit(url), time.perf_counter()
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
    whole = {**body, "stream": True, "stream_options": {"include_usage": True}}
    answer = Answer(0)
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(whole),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        answer.status = response.status
        if response.status != http.client.OK:
            answer.error = response.read().decode()
            return answer
        for line in response:
            if line.startswith(b"data: {"):
                _take(answer, json.loads(line[6:]), time.perf_counter() - start)
            if leave_after is not None and len(answer.pieces) >= leave_after:
                break
    except (OSError, http.client.HTTPException) as error:
        answer.error = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
        answer.seconds = time.perf_counter() - start
    return answer


def _take(answer: Answer, piece: Mapping[str, Any], seconds: float) -> None:
    if "error" in piece:
        answer.error = json.dumps(piece["error"])
    for choice in piece.get("choices", ()):
        if text := choice["delta"].get("content"):
            answer.first = seconds if answer.first is None else answer.first
            answer.pieces.append(text)
        for each in (choice.get("logprobs") or {}).get("content") or ():
            answer.scores.append((each["token"], each["top_logprobs"]))
        answer.finish = choice.get("finish_reason") or answer.finish
    if usage := piece.get("usage"):
        answer.tokens = int(usage["completion_tokens"])
