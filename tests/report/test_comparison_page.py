"""The page of a comparison: every run with its costs, also one that failed."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.report.examples import write_comparison
from tests.report.test_run_page import Page
from tunesmith.core.errors import RunError
from tunesmith.report.comparison_page import (
    ParetoPoint,
    best_at_its_price,
    comparison_page,
    is_comparison,
)
from tunesmith.report.plot import log_scale_
from tunesmith.report.run_page import run_page
from tunesmith.runs.history import read_records


@pytest.mark.parametrize("language", ["en", "ko"])
def test_runs_stand_beside_each_other(tmp_path: Path, language: str) -> None:
    path = write_comparison(tmp_path)
    assert is_comparison(path)
    page = Page(comparison_page(path, language=language))
    for part in ("97 %", "60 %", "20.0\N{NO-BREAK SPACE}MB", "50.0\N{NO-BREAK SPACE}kB"):
        assert part in page.text
    assert {"title-scores", "title-pareto-adapter-bytes", "section-verdicts"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_run_that_failed_is_in_the_table(tmp_path: Path) -> None:
    assert "failed" in Page(comparison_page(write_comparison(tmp_path))).text


def test_a_run_that_was_stopped_names_the_command_that_goes_on(tmp_path: Path) -> None:
    path = write_comparison(tmp_path)
    (folder,) = (each for each in path.iterdir() if each.name == "prompt")
    for name in ("evaluation.json", "summary.json"):
        (folder / name).unlink(missing_ok=True)
    events = [{"event": "planned", "steps": 16}, {"event": "ended", "reason": "stopped"}]
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "metrics.jsonl").write_text('{"step": 2, "loss": 1.0}\n')
    text = Page(comparison_page(path)).text
    assert f"2 of 16 steps are done. To resume: tunesmith compare --resume {path}" in text
    assert text.count(f"tunesmith compare --resume {path}") == 2
    assert f"tunesmith train --resume {folder}" in Page(run_page(read_records(folder))).text


def test_an_unfinished_comparison_is_refused(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"names": ["a"]}', encoding="utf-8")
    with pytest.raises(RunError, match="no finished comparison"):
        comparison_page(tmp_path)


def points(*pairs: tuple[float, float]) -> list[ParetoPoint]:
    return [ParetoPoint(str(i), score, 0, 1, {"c": cost}) for i, (score, cost) in enumerate(pairs)]


def test_best_at_its_price_is_beaten_by_nobody() -> None:
    assert best_at_its_price(points((0.5, 1), (0.6, 2), (0.55, 3)), "c") == {"0", "1"}
    assert best_at_its_price(points((0.5, 1), (0.5, 1)), "c") == {"0", "1"}
    assert best_at_its_price(points((0.5, 1), (0.5, 2), (0.9, 2)), "c") == {"0", "2"}


def test_an_axis_of_equal_factors_has_plain_numbers_that_lie_apart() -> None:
    axes = Figure().subplots()
    axes.plot([20, 300], [20, 300])
    log_scale_(axes, "x")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    told = {minor: axes.get_xticklabels(minor=minor) for minor in (False, True)}
    assert {"30", "100", "300"} <= {label.get_text() for label in told[False]}
    assert not any(label.get_text() for label in told[True])
