"""What docs/serve.md shows runs."""

import json
import re
import shlex

import httpx2 as httpx

from tests.snippets import snippets
from tests.source import ROOT

PAGE = ROOT / "docs" / "serve.md"


def test_the_python_of_the_page_runs(server, root, capsys):
    client, serving, responses = snippets(PAGE)
    names = {}
    for each in (client, responses):
        exec(each.replace("http://127.0.0.1:8000", server.url).replace("polite", "mine"), names)
    assert names["second"].previous_response_id == names["first"].id
    assert "'mine'" in capsys.readouterr().out
    for old, new in {
        '"smollm2-135m-instruct"': repr(str(root / "base")),
        "runs/polite": str(root / "adapters" / "a"),
    }.items():
        assert old in serving
        serving = serving.replace(old, new)
    exec(serving, {})
    assert "('base', 'polite')" in capsys.readouterr().out


def test_the_request_of_the_page_is_answered(server):
    text = PAGE.read_text(encoding="utf-8")
    (command,) = re.findall(r"^curl (.*?\\\n.*?)$", text, re.M)
    url, _, header, _, body = shlex.split(command.replace("\\\n", " "))
    name, _, value = header.partition(": ")
    asked = json.loads(body.replace("polite", "mine"))
    url = url.replace("http://127.0.0.1:8000", server.url)
    found = httpx.post(url, content=json.dumps(asked), headers={name: value})
    assert found.status_code == 200
    assert found.json()["choices"][0]["message"]["role"] == "assistant"


def test_each_path_of_the_page_is_served(server):
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:GET |POST |DELETE )?(/[a-z0-9_/{}]+)`", page))
    served = set(httpx.get(f"{server.url}/openapi.json").json()["paths"])
    assert named - {"/mcp"} == served - {"/v1/models/{name}"}
