"""200 rows asked of a real server through a network that fails, and a process that is killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.exports.bases import base
from tests.faulty_proxy import FaultyProxy
from tests.runs.tiny import ONE_CHECKPOINT, config, rows_file
from tunesmith.exports.gguf_model import write_model
from tunesmith.exports.llama_process import find_python
from tunesmith.runs.run import train_run

pytestmark = pytest.mark.slow

KEY = "sk-not-a-real-key-9931"
ROWS = 200
FAULTS = {"busy": 0.1, "hung": 0.03, "cut": 0.03, "odd": 0.03, "page": 0.01}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run, and 200 rows that it has not seen."""
    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(folder / "home"))
        train_run(config(folder, train=ONE_CHECKPOINT))
    rows_file(folder / "eval.jsonl", ROWS)
    return folder


@contextlib.contextmanager
def llama_server(folder):
    """llama.cpp's own server over a tiny model; its address."""
    python = find_python()
    probe = "import llama_cpp.server.app, sse_starlette, starlette_context, pydantic_settings"
    if python is None or subprocess.run([python, "-c", probe], capture_output=True).returncode:
        pytest.skip("llama-cpp-python with its server is not here")
    written = write_model(base("llama", folder / "base"), folder / "m.gguf", number_format="f32")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "llama_cpp.server", "--model", str(written.path), "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen([python, *words], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/models"):
                break
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["own", "llama.cpp"])
def upstream(request, tmp_path):
    """The address of a server that is no stand-in, and the name of its model."""
    if request.param == "own":
        server = request.getfixturevalue("server")
        yield f"{server.url}/v1", server.models[0]
    else:
        with llama_server(tmp_path) as url:
            yield url, "m"


def evaluating(run, proxy, model, out):
    arm = {"endpoint": proxy.url, "model": model, "key": "MY_KEY", "timeout_seconds": 20}
    return [
        *(sys.executable, "-m", "tunesmith", "evaluate", str(run / "run")),
        *("--data", str(run / "eval.jsonl"), "--out", str(out)),
        *("--evaluate.arms", json.dumps({"hosted": arm}), "--json"),
    ]


def test_200_rows_are_answered_once_through_every_fault_and_a_kill(run, upstream, tmp_path):
    url, model = upstream
    environment = {
        **os.environ,
        "TUNESMITH_HOME": str(tmp_path / "home"),
        "MY_KEY": KEY,
        "OPENAI_LOG": "debug",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    out, log = tmp_path / "out", tmp_path / "log.txt"
    with FaultyProxy(url, hang=25.0, seed=3, **FAULTS) as proxy, log.open("wb") as file:
        words = evaluating(run, proxy, model, out)
        process = subprocess.Popen(words, env=environment, stdout=file, stderr=file)
        deadline = time.monotonic() + 300
        while sum(proxy.answered.values()) < ROWS // 3 and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len([*(tmp_path / "home").rglob("hosted/*.json")])
        assert ROWS // 4 < kept < ROWS
        answered = sum(proxy.answered.values())
        assert answered - kept <= 16  # on their way when it was killed
        done = subprocess.run(words, env=environment, capture_output=True, timeout=900)
        file.write(done.stderr)
        assert done.returncode == 0, done.stderr[-3000:]
        document = json.loads(done.stdout)
        assert document["arms"]["hosted"]["unanswered"] == 0
        assert document["arms"]["hosted"]["checks"]["exact"]["n"] == document["rows"] == ROWS
        assert sum(proxy.answered.values()) - answered == ROWS - kept
        assert 8 < proxy.most_at_once <= 16 + 16  # those of the killed process may still hang
        assert all(proxy.faults[name] for name in FAULTS)
        print(model, dict(proxy.faults), f"kept {kept}, answered {answered} at the kill")  # noqa: T201
    assert KEY not in log.read_text(errors="replace")
    assert b"openai" in log.read_bytes()
    written = [path for path in [*tmp_path.rglob("*"), *run.rglob("*")] if path.is_file()]
    assert any(path.name == "evaluation.json" for path in written)
    assert all(KEY.encode() not in path.read_bytes() for path in written)
