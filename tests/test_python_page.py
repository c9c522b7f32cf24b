"""Every snippet of docs/python.md runs, in order and in one namespace."""

import re

from tests.runs.tiny import base_folder
from tests.source import ROOT

PAGE = ROOT / "docs" / "python.md"
MODEL = "smollm2-135m-instruct"


def snippets():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def test_every_snippet_runs(tmp_path, monkeypatch):
    """Over a tiny base in the place of the default model: nothing here depends on what it says."""
    base = base_folder(tmp_path / "base", max_position_embeddings=2048)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for text in snippets():
        code = text.replace(f'ts.pull("{MODEL}").folder', f'"{base}"').replace(MODEL, str(base))
        exec(compile(code, str(PAGE), "exec"), namespace)
    assert len(snippets()) >= 10
