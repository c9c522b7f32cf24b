import json

import pytest

from tests.runs.tiny import base_folder
from tests.server.conftest import client_of
from tunesmith.cli.main import main
from tunesmith.cli.serve import adapters_of
from tunesmith.core.errors import UsageError
from tunesmith.core.progress import Cancelled
from tunesmith.server.serve import Server

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_folder(tmp_path_factory.mktemp("base") / "mine")


def ask(server):
    client_of(server).chat.completions.create(
        model="mine",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=3,
        temperature=0,  # one that is drawn can end earlier
    )


def test_it_serves_until_it_is_stopped(base, monkeypatch, capsys):
    monkeypatch.setattr(Server, "wait", ask)
    assert main(["serve", "--model", str(base), "--port", "0", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["models"] == ["mine"]
    assert (document["answers"], document["tokens"]) == (1, 3)
    assert f"Serving mine at {document['url']}/v1" in printed.err


def test_ctrl_c_stops_it(base, monkeypatch, capsys):
    def interrupted(server):
        ask(server)
        raise Cancelled

    monkeypatch.setattr(Server, "wait", interrupted)
    assert main(["serve", "--model", str(base), "--port", "0"]) == 130


def test_what_is_wrong_is_refused_before_anything_is_loaded(capsys):
    assert main(["serve", "--model", "nope", "--port", "0"]) == 1
    assert "nope is not a run, adapter or base" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "--api-keys FILE" in capsys.readouterr().err


def test_adapters_are_named_all_or_none():
    assert adapters_of(["a=x/y", "b=z=1"]) == {"a": "x/y", "b": "z=1"}
    assert adapters_of(["x/y"]) == ["x/y"]
    for given in (["a=x", "y"], ["a="], ["=x"], ["a=x", "a=y"]):
        with pytest.raises(UsageError, match="--adapter"):
            adapters_of(given)
