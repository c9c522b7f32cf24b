""""""

import json
import os
from pathlib import Path

import pytest

from tests.report.examples import write_comparison, write_run
from tunesmith.api.runs import sparkline
from tunesmith.cli.main import main


@pytest.fixture
def root(tmp_path):
    run = tmp_path / "runs" / "one"
    (run / "adapter").mkdir(parents=True)
    (run / "config.yaml").write_text("model: m\nmethod: {kind: lora}\n")
    losses = [3.0, 2.0, 1.0]
    lines = [json.dumps({"step": i + 1, "tokens": 10, "loss": x}) for i, x in enumerate(losses)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    planned = {"event": "planned", "steps": 9}
    (run / "events.jsonl").write_text(json.dumps(planned) + "\n")
    return run.parent


def test_runs_are_listed_with_state_and_losses(root, tunesmith):
    ended = tunesmith("runs", "list", "--root", root)
    assert ended.status == 0
    row = ended.out.splitlines()[1].split()
    assert row == ["one", "interrupted", "lora", "m", "3/9", "1.000"]


def test_a_run_that_was_evaluated_is_listed_with_score_and_verdict(root, tunesmith):
    arms = {"tuned": {"checks": {"label": {"score": 0.8}, "json": {"score": 1.0}}}}
    evaluation = {"arms": arms, "verdict": {"answer": "cannot-tell"}}
    summary = {"run": "one", "evaluation": evaluation, "reason": "done"}
    (root / "one" / "summary.json").write_text(json.dumps(summary))
    row = tunesmith("runs", "list", "--root", root).out.splitlines()[1]
    assert row.split()[-4:] == ["80", "%", "cannot", "tell"]


def test_runs_are_one_document(root, tunesmith):
    (run,) = tunesmith("runs", "list", "--root", root, "--json").document["runs"]
    assert (run["state"], run["steps"], run["train_loss"]) == ("interrupted", 3, 1.0)


def test_no_runs_are_no_error(tmp_path, tunesmith):
    ended = tunesmith("runs", "list", "--root", tmp_path)
    assert ended.status == 0
    assert "No runs in" in ended.out
    assert tunesmith("runs", "list", "--root", tmp_path, "--json").document == {"runs": []}


def test_a_run_is_shown_with_its_curve_config_and_next_commands(root, tunesmith):
    ended = tunesmith("runs", "show", "one", "--root", root)
    assert "interrupted after 3 of 9 steps" in ended.out
    assert "training loss: █▅▁ 3.000 -> 1.000" in ended.out
    assert "model: m" in ended.out
    assert f"tunesmith train --resume {root / 'one'}" in ended.out
    assert f"tunesmith chat {root / 'one'}" in ended.out


def test_a_shown_run_is_one_document(root, tunesmith):
    document = tunesmith("runs", "show", root / "one", "--json").document
    assert document["losses"] == [3.0, 2.0, 1.0]
    assert document["config"]["model"] == "m"
    assert len(document["next"]) == 2


def test_a_run_that_is_not_there_is_refused_with_those_that_are(root, tunesmith):
    ended = tunesmith("runs", "show", "two", "--root", root)
    assert ended.status == 1
    assert "holds the runs one" in ended.err


def test_a_folder_that_may_not_be_read_is_a_refusal_and_no_wrong_usage(
    root, tunesmith, monkeypatch
):
    """As root every folder may be read: what the system would say is said here."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "iterdir", refuse)
    ended = tunesmith("runs", "list", "--root", root)
    assert ended.status == 1
    assert f"{root}: cannot be read: Permission denied" in ended.err
    assert "--root" in ended.err


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


def test_the_lowest_and_the_highest_value_get_the_lowest_and_the_highest_block():
    assert sparkline([3.0, 0.5, 1.0, 2.0]) == "█▁▂▅"


def test_long_series_are_averaged_to_the_width_and_keep_their_ends():
    line = sparkline([float(i) for i in range(1000)], width=20)
    assert len(line) == 20
    assert line[0] == "▁"
    assert line[-1] == "█"
    assert list(line) == sorted(line)


def test_short_series_are_not_stretched():
    assert len(sparkline([1.0, 2.0, 3.0])) == 3


def test_equal_and_missing_values_are_drawn():
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([1.0, float("nan"), 2.0]) == "▁×█"
    assert sparkline([]) == ""
