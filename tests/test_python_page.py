"""Every snippet of docs/python.md runs, in order and in one namespace."""

from tests.snippets import run_in_order, snippets
from tests.source import ROOT

PAGE = ROOT / "docs" / "python.md"


def test_every_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_in_order(PAGE, tmp_path)
    assert len(snippets(PAGE)) >= 10
