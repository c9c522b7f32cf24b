"""llama.cpp's server beside ours: tokens a second of one merged model, and an adapter's answers.

`llama-server` is compiled from llama.cpp's source, which the source distribution of
llama-cpp-python contains:

    pip download --no-binary :all: --no-deps llama-cpp-python==0.3.36 && tar xzf llama_cpp_python-*
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B llama-build -DCMAKE_BUILD_TYPE=Release \\
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF
    cmake --build llama-build --target llama-server
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.serving.mixed import make_adapters, questions
from benchmarks.serving.processes import Answer, Running, ask, free_port, ours, running
from benchmarks.workload import chats
from tunesmith.exports.gguf_model import write_model
from tunesmith.models.resolve import resolve

CONTEXT, TOKENS, EACH = 1024, 64, 2  # positions and tokens of a request; requests of a client
CLIENTS = (1, 8, 16)
NAME = "merged"


def llama(
    binary: Path, model: Path, port: int, *, threads: int, clients: int, more: tuple[str, ...] = ()
) -> list[str]:
    """The command of llama.cpp's server."""
    return [
        *(str(binary), "--model", str(model), "--port", str(port), "--host", "127.0.0.1"),
        *("--parallel", str(clients), "--ctx-size", str(clients * CONTEXT), "--alias", NAME),
        *("--threads", str(threads), "--threads-batch", str(threads), "--log-disable"),
        *more,
    ]


def merged_model(model: str, folder: Path, *, rank: int) -> tuple[Path, Path]:
    """A merged model's folder, and its GGUF in bf16; written where they are not there yet."""
    out, gguf = folder / f"{NAME}-rank{rank}", folder / f"{NAME}-rank{rank}.gguf"
    if not out.exists():
        adapter = make_adapters(model, folder, rank=rank)["lora0"]
        ts.export(adapter, "merged", out, prompts=0, force=True, progress=False)
    if not gguf.exists():
        write_model(out, gguf, number_format="bf16")
    return out, gguf


def speed(
    binary: Path, model: str, folder: Path, *, rank: int, threads: int, repeats: int
) -> dict[str, Any]:
    """Tokens a second of both servers at 1, 8 and 16 clients."""
    merged, gguf = merged_model(model, folder, rank=rank)
    found: dict[str, Any] = {}
    for clients in CLIENTS:
        rates: dict[str, list[float]] = {"tunesmith": [], "llama.cpp": []}
        for _ in range(repeats):
            port = free_port()
            commands = {
                "tunesmith": ours(str(merged), port, threads=threads),
                "llama.cpp": llama(binary, gguf, port, threads=threads, clients=clients),
            }
            for side, command in commands.items():
                name = merged.name if side == "tunesmith" else NAME
                with running(command, port, threads=threads) as server:
                    rates[side].append(_rate(server, name, clients))
        found[str(clients)] = {side: statistics.median(each) for side, each in rates.items()}
    return {"tokens_per_second": found}


def _rate(server: Running, name: str, clients: int) -> float:
    asked = questions(clients * (EACH + 1))

    def tokens(text: str) -> int:
        return _answer(server, text, model=name).tokens

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(tokens, asked[:clients]))  # the first ones choose kernels and fill caches
        start = time.perf_counter()
        made = sum(pool.map(tokens, asked[clients:]))
        return made / (time.perf_counter() - start)


def trained_adapter(model: str, folder: Path) -> Path:
    """An adapter that was trained on the questions' answers; written where it is not there yet."""
    run = folder / "trained"
    if not (run / "adapter").exists():
        ts.train([dict(row) for row in chats()], model=model, steps=20, out=run, progress=False)
    return run / "adapter"


def same_answers(
    binary: Path, model: str, folder: Path, *, threads: int, count: int = 20
) -> dict[str, Any]:
    """Greedy answers of a trained adapter here and exported to llama.cpp's server, both in fp32.

    Of answers that differ: the text that both begin with, and how many nats apart the two
    likeliest tokens are here where they part.
    """
    adapter, out, gguf = trained_adapter(model, folder), folder / "gguf", folder / "base-f32.gguf"
    if not out.exists():
        ts.export(adapter, "gguf", out, prompts=0, progress=False)
    if not gguf.exists():
        write_model(resolve(model), gguf, number_format="f32")
    port, asked = free_port(), questions(count)
    full = ("--cache-type-k", "f32", "--cache-type-v", "f32", "--lora", str(out / "adapter.gguf"))
    command = llama(binary, gguf, port, threads=threads, clients=1, more=full)
    with running(command, port, threads=threads) as server:
        theirs = [_answer(server, text).text for text in asked]
    given = {NAME: str(adapter)}
    command = ours(model, port, threads=threads, adapters=given, dtype="float32")
    with running(command, port, threads=threads) as server:
        mine = [_answer(server, text).text for text in asked]
        differ = [
            {
                "question": number,
                "alike": len(_alike(a, b)),
                **_tie(server, asked[number], _alike(a, b)),
            }
            for number, (a, b) in enumerate(zip(mine, theirs, strict=True))
            if a != b
        ]
    return {"questions": count, "same": count - len(differ), "differ": differ}


def _answer(server: Running, text: str, **more: object) -> Answer:
    body = {"model": NAME, "messages": [{"role": "user", "content": text}], **more}
    answer = ask(server.url, {"max_tokens": TOKENS, "temperature": 0, **body})
    assert not answer.error, answer.error
    return answer


def _alike(a: str, b: str) -> str:
    count = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    return min(a, b, key=len) if count is None else a[:count]


def _tie(server: Running, text: str, alike: str) -> dict[str, float]:
    """The nats between the two likeliest tokens where an answer leaves ``alike``."""
    answer = _answer(server, text, logprobs=True, top_logprobs=2)
    made = ""
    for token, scores in answer.scores:
        if len(made) + len(token) > len(alike):
            first, second = sorted((each["logprob"] for each in scores), reverse=True)[:2]
            return {"nats": first - second}
        made += token
    return {}
