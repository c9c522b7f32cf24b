"""Deployment: what the examples run exists, and a soft prompt reaches vLLM's API as it was trained.

compose.yaml was validated against the Compose Specification's own schema when it was written; where
docker is installed, it is again.
"""

import base64
import configparser
import io
import json
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
import typer
import yaml
from transformers import AutoModelForCausalLM

from tests.runs.tiny import talking_base
from tests.source import ROOT
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import open_base
from tunesmith.cli.main import app
from tunesmith.config.methods import PromptSettings
from tunesmith.generation.decoder import Decoder, Prompt
from tunesmith.methods import table

FOLDER = ROOT / "examples" / "deploy"
QUESTION = "What is the capital of France?"


def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))


def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(FOLDER / "tunesmith.service", encoding="utf-8")
    return parser


def parsed(words):
    """What `tunesmith` reads from a command line, which must begin with `serve`."""
    command = typer.main.get_command(app).commands[words[0]]
    return command.make_context(words[0], list(words[1:])).params


def test_the_container_serves_behind_keys_to_this_machine_alone():
    service = compose()["services"]["tunesmith"]
    given = parsed(service["command"])
    assert given["host"] == "0.0.0.0"
    assert str(given["api_keys"]).removeprefix("/run/secrets/") in compose()["secrets"]
    assert service["ports"] == [f"127.0.0.1:8000:{given['port']}"]
    mounted = {each.split(":")[1] for each in service["volumes"]}
    assert str(given["adapters"]) in mounted
    assert service["environment"]["HF_HOME"].startswith("/cache/"), "the rest cannot be written"


def test_the_unit_serves_this_machine_and_keeps_its_cache():
    service = unit()["Service"]
    _, *words = shlex.split(service["ExecStart"])
    given = parsed(words)
    assert (given["host"], given["port"]) == ("127.0.0.1", 8000)
    assert f"TUNESMITH_HOME=/var/cache/{service['CacheDirectory']}" in service["Environment"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="without systemd")
def test_systemd_takes_the_unit(tmp_path):
    program, text = shlex.split(unit()["Service"]["ExecStart"])[0], FOLDER / "tunesmith.service"
    copy = tmp_path / text.name
    copy.write_text(text.read_text(encoding="utf-8").replace(program, sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("docker") is None, reason="without docker")
def test_docker_takes_the_compose_file():
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "config", "--quiet"]
    subprocess.run(command, check=True)


class _Vllm(BaseHTTPRequestHandler):
    """vLLM's completions as far as prompt embeddings go (vllm/entrypoints/openai, 0.33)."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))
        answer = {"id": "1", "object": "text_completion", "created": 0, "model": body["model"]}
        choice = {"index": 0, "text": "Paris", "finish_reason": "stop", "logprobs": None}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({**answer, "choices": [choice]}).encode())

    def log_message(self, *_):
        """Nothing is printed."""


@pytest.mark.usefixtures("home")
def test_a_soft_prompt_reaches_vllm_as_this_program_computes_it(tmp_path, monkeypatch, capsys):
    base = talking_base(tmp_path / "base")
    loaded = open_base(str(base), dtype="float32", device="cpu")
    adapter = table.attach(loaded.engine, PromptSettings(tokens=3, init="random"), name="soft")
    store.save(tmp_path / "soft", adapter, loaded.engine, base=str(base))
    server = HTTPServer(("127.0.0.1", 0), _Vllm)
    server.bodies = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    script = FOLDER / "soft_prompt_vllm.py"
    given = [str(script), str(base), str(tmp_path / "soft"), QUESTION, url]
    monkeypatch.setattr(sys, "argv", given)
    try:
        runpy.run_path(str(script))
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().out == "Paris\n"
    ((path, body),) = server.bodies
    assert path == "/v1/completions"
    assert body["prompt"] is None, "vLLM would answer it too"
    rows = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"], validate=True)))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = model(inputs_embeds=rows[None]).logits[0, -1]
    tokenizer = loaded.base.tokenizer
    chat = [{"role": "user", "content": QUESTION}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert rows.shape == (3 + len(ids), model.config.hidden_size)
    decoder = Decoder(loaded.engine, slots=1, capacity=len(rows) + 1)
    mine = decoder.read({0: Prompt(tuple(ids), "soft")})[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
