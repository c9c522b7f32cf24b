"""`tunesmith report` writes the page where the run is, and says where."""

import json
from pathlib import Path

import pytest

from tests.report.examples import write_comparison, write_run
from tunesmith.cli.main import main


def test_a_run_gets_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    assert main(["report", str(run), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["report"]
    assert Path(written) == run / "report.html"
    assert "97 %" in Path(written).read_text(encoding="utf-8")


def test_a_comparison_gets_its_page(tmp_path: Path) -> None:
    path = write_comparison(tmp_path / "all")
    assert main(["report", str(path), "--language", "ko"]) == 0
    assert 'lang="ko"' in (path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("given", [["NOTHING"], ["RUN", "--language", "xx"]])
def test_what_cannot_be_done_is_refused_in_words(
    tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "RUN")
    words = [str(tmp_path / given[0]), *given[1:]]
    assert main(["report", *words]) in (1, 2)
    assert not (run / "report.html").exists()
    said = capsys.readouterr().err
    assert "error:" in said
    assert "Traceback" not in said
