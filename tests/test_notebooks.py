"""Every cell of the notebooks in examples/ runs, in order; what is stored is small and clean."""

import json
import shutil

import pytest

import tunesmith as ts
from tests.snippets import is_code, run_in_order
from tests.source import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_every_cell_runs(file, tmp_path, monkeypatch):
    """Where a notebook lies, as its kernel starts there, and with its data."""
    shutil.copytree(EXAMPLES / "polite_ko", tmp_path / "polite_ko")
    monkeypatch.chdir(tmp_path)
    run = run_in_order(file, tmp_path)["run"]
    assert isinstance(run, ts.Run)
    assert run.evaluation["verdict"]
    assert run.report.is_file()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_no_output_is_stored_and_links_lead_somewhere(file):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if is_code(cell):
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
        else:
            for part in "".join(cell["source"]).split("](")[1:]:
                assert (EXAMPLES / part.partition(")")[0]).exists(), part


def test_the_notebooks_are_there_and_linked():
    assert {"quickstart", "persona_ko"} <= {file.stem for file in NOTEBOOKS}
    for page in ("README.md", "docs/python.md", "docs/README.ko.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert all(file.name in text for file in NOTEBOOKS), page
