"""What a comparison shows: notes once, warnings again at the end, errors with all their runs."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tunesmith.api.compare import BESIDE, COLUMNS, NUMBERS, TITLES, Comparison
from tunesmith.api.display import GroupDisplay
from tunesmith.api.show import print_table
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Notice, Phase
from tunesmith.training.events import Ended, StepDone


def console():
    return Console(file=io.StringIO(), width=200)


def text(of):
    return of.file.getvalue()


def step(number):
    return StepDone(
        step=number,
        steps=4,
        tokens=10,
        loss=1.5,
        lr=0.1,
        grad_norm=1.0,
        tokens_per_second=5.0,
        peak_bytes=1,
        seconds=1.0,
        seconds_left=9.0,
    )


def test_what_all_runs_notice_is_said_once_and_warnings_are_kept():
    said = console()
    with GroupDisplay(said) as display:
        for name in ("lora", "prompt"):
            display(name, Notice("data", "7 rows"))
            display(name, Notice("window", "2 layers lose it"))
        display("lora", step(1))
        display("lora", Ended(1, "stopped"))
    assert text(said).count("7 rows") == 1
    assert text(said).count("2 layers lose it") == 1
    assert display.warnings == {"2 layers lose it": ["lora", "prompt"]}
    assert "lora: stopped after 1 step, loss 1.500" in text(said)


def test_each_new_wait_is_said_at_once():
    said = console()
    display = GroupDisplay(said)
    display("lora", Phase("reading the data"))
    display("lora", Phase("answering", 1, 9))
    assert "lora: reading the data ..." in text(said)
    assert "lora: answering 1 of 9 ..." in text(said)


def test_the_share_and_the_time_are_those_of_a_whole_search():
    display = GroupDisplay(console())
    display("together", Phase("searching", 160, 1400, 1200.0))
    display("setting-01", step(1))
    assert display._share_and_left() == (160 / 1400, 1200.0)


def row(name, verdict):
    numbers = dict.fromkeys((key for key, _ in COLUMNS.values()), 1)
    score = {"score": 0.5, "low": 0.25, "high": 0.75}
    return {**numbers, **score, "name": name, "method": "lora", "verdict": verdict}


def test_the_table_has_each_verdict_in_words():
    shown = console()
    rows = [row("a", "yes"), row("b", "cannot-tell"), row("c", None)]
    none = dict.fromkeys(("score", "low", "high"))
    beside = {"best": None, "loss_against_rank": [], "report": "r.html"}
    document = {"runs": rows, "base": none, **beside}
    found = SimpleNamespace(rows=[], out=Path(), to_json=lambda: document)
    Comparison(found).show(shown)
    head, *lines = text(shown).splitlines()[:4]
    assert head.split()[-1] == "verdict"
    ends = [line.split(")")[-1].strip() for line in lines]
    assert ends == ["yes", "cannot tell", "-"]


def test_one_error_of_several_runs_is_told_once_with_their_names():
    shown = console()
    error = DataError("a.jsonl:1: empty")
    rows = [SimpleNamespace(name=name, error=error, summary=None) for name in ("lora", "prompt")]
    none = dict.fromkeys(("score", "low", "high"))
    ranks = {"runs": ["a", "b"], "text": "Rank 1 is too low."}
    best = {"text": "Best score: b."}
    beside = {"best": best, "loss_against_rank": [ranks], "report": "r.html"}
    document = {"runs": [], "base": none, **beside}
    found = SimpleNamespace(rows=rows, out=Path(), to_json=lambda: document)
    Comparison(found, {"narrow": ["lora", "prompt"]}).show(shown)
    assert "a, b: Rank 1 is too low." in text(shown)
    assert "Best score: b." in text(shown)
    assert "report: r.html" in text(shown)
    assert text(shown).count("a.jsonl:1: empty") == 1
    assert "lora, prompt failed" in text(shown)
    assert "note: lora, prompt: narrow" in text(shown)


@pytest.mark.parametrize(("width", "left_out"), [(80, True), (160, False)])
def test_a_narrow_terminal_shows_what_tells_the_runs_apart(width, left_out):
    shown = Console(file=io.StringIO(), width=width)
    numbers = ["4.9 M", "19.6 MB", "2.1 GB", "1,234", "0.123", "0.345", "84 % (71 % to 92 %)"]
    print_table(
        shown, TITLES, rows=[["wide", "lora", *numbers, "yes"]], numbers=NUMBERS, beside=BESIDE
    )
    said = shown.file.getvalue()
    assert {"wide", "lora", "84 % (71 % to 92 %)", "yes", "0.345"} <= set(
        re.split(r"  +|\n ?", said)
    )
    assert ("Not shown for want of room: tokens/s" in said) is left_out
    assert ("1,234" in said) is not left_out


def test_a_check_that_is_called_as_a_cost_keeps_its_column():
    shown = Console(file=io.StringIO(), width=60)
    titles = ("arm", "prompt", "answer", "prompt")
    row = ["tuned", "84 % (71 % to 92 %)", "44 % (31 % to 57 %)", "1,234 tokens"]
    print_table(shown, titles, rows=[row], numbers=titles[1:], beside=["prompt"])
    assert "84 % (71 % to 92 %)" in text(shown)
    assert "1,234 tokens" not in text(shown)
