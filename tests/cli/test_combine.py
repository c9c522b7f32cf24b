"""`tunesmith adapters conflicts` and `merge`: what is passed on, shown and refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tunesmith.adapters.conflicts import Conflict
from tunesmith.adapters.products import RelativeError
from tunesmith.evaluation.intervals import Interval
from tunesmith.studies.merge import NothingKeepsAll, Trial
from tunesmith.studies.tasks import TaskScores

LAYERS = [f"model.layers.{i}.self_attn.q_proj" for i in range(30)]
CLASH = Conflict(-0.21, 0.61, 0.5, 0.25, 0.01, 1.5)


def trial():
    made = SimpleNamespace(ranks={"a": 32}, errors=RelativeError({"a": 0.25}), bytes=2_000_000)
    names = ("linear", "ties")
    candidates = [
        SimpleNamespace(recipe=SimpleNamespace(name=n, method=None), made=made) for n in names
    ]
    for each in candidates:
        each.to_json = lambda name=each.recipe.name: {"name": name, "method": {}, "rank": 32}
    arms = {
        n: Interval(s, s - 0.1, s + 0.1, 50)
        for n, s in {"base": 0.1, "alone": 0.9, "linear": 0.6, "ties": 0.8}.items()
    }
    drops = {"linear": Interval(0.3, 0.2, 0.4, 50), "ties": Interval(0.1, 0.0, 0.2, 50)}
    return Trial(candidates, [TaskScores("intents", "exact", 50, arms, drops)])


class Found:
    verdict = SimpleNamespace(text="Layers 11-19 pull in opposite directions.")
    trial = None

    def __init__(self):
        self.left_out = {"tone": "it lies in no run"}
        found = SimpleNamespace(
            layers=dict.fromkeys(LAYERS, CLASH),
            overall=CLASH,
            only_first=("x", "y", "z"),
            only_second=(),
            together=lambda _: CLASH,
        )
        self.pairs = [SimpleNamespace(a="intents", b="tone", found=found)]

    def to_json(self):
        return {"pairs": [], "verdict": {"answer": "clash", "text": self.verdict.text}}


@pytest.fixture
def asked(replace_module, monkeypatch):
    """What the workflows were called with; they answer, or raise what they are told."""
    taken = {"found": Found()}

    def called(name):
        def call(adapters, *out, **options):
            taken.update(call=name, adapters=adapters, out=out, **options)
            if isinstance(taken["found"], BaseException):
                raise taken["found"]
            return taken["found"]

        return call

    replace_module(
        "tunesmith.studies.merge",
        named=lambda words, weights=(), *, seed=0, force=False: (words, list(weights), seed),
        combine=called("combine"),
        combine_best=called("combine_best"),
        NothingKeepsAll=NothingKeepsAll,
    )
    replace_module("tunesmith.studies.conflicts", find_conflicts=called("conflicts"))
    monkeypatch.setattr("tunesmith.runs.locate.adapter_folders", lambda words: {})
    return taken


def test_the_verdict_comes_first_and_layers_fit_a_terminal(tunesmith, asked):
    asked["found"].trial = trial()
    ended = tunesmith("adapters", "conflicts", "runs/a", "runs/b")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[0] == "Layers 11-19 pull in opposite directions."
    bands = [line for line in lines if "-0.210" in line]
    assert len(bands) <= 13
    assert bands[0].split()[0] == "0-2"
    assert bands[-1].split()[0] == "all"
    assert "only intents has x, y and 1 more" in ended.out
    assert "90 % (80..100)" in ended.out
    assert "-30 points (-40..-20)" in ended.out
    assert "tone was not measured: it lies in no run" in ended.out
    assert (asked["scores"], asked["rows"]) == (None, 100)
    assert asked["adapters"] == (["runs/a", "runs/b"], [], 0)


def test_json_is_the_document_and_the_page_lies_where_it_is_wanted(
    tunesmith, asked, replace_module, tmp_path
):
    replace_module("tunesmith.report.writing", write_page=lambda _, path: path)
    page = tmp_path / "page.html"
    words = ("--page", page, "--no-scores", "--rows", "20", "--json")
    document = tunesmith("adapters", "conflicts", "a", "b", *words).document
    assert document["page"] == str(page)
    assert document["verdict"]["answer"] == "clash"
    assert (asked["scores"], asked["rows"]) == (False, 20)


def test_merging_passes_on_what_is_asked_for(tunesmith, asked):
    asked["found"] = KeyboardInterrupt()
    words = ("a", "b", "--out", "o", "--weights", "1,0.5", "--seed", "3")
    tunesmith("adapters", "merge", *words, "--method", "ties", "--density", "0.3", "--rank", "8")
    assert (asked["call"], asked["out"], asked["adapters"][1:]) == (
        "combine",
        (Path("o"),),
        ([1.0, 0.5], 3),
    )
    assert (asked["kind"], asked["density"], asked["rank"]) == ("ties", 0.3, 8)
    options = ("--density", "0.2,0.5", "--rank", "8,16", "--rows", "30", "--max-drop", "25")
    ended = tunesmith("adapters", "merge", *words, "--auto", *options)
    assert asked["call"] == "combine_best"
    assert (asked["densities"], asked["ranks"]) == ([0.2, 0.5], [8, 16])
    assert (asked["rows"], asked["max_drop"]) == (30, 25.0)
    assert ended.status == 130
    assert (
        "To resume: tunesmith adapters merge a b --out o --weights 1,0.5 --seed 3 "
        "--auto --density 0.2,0.5 --rank 8,16 --rows 30 --max-drop 25" in ended.err
    )


def test_one_adapter_needs_no_method(tunesmith, asked):
    tunesmith("adapters", "merge", "a", "--out", "o")
    assert (asked["call"], asked["kind"]) == ("combine", "linear")


def test_a_refusal_shows_the_figures_and_ends_with_1(tunesmith, asked):
    asked["found"] = NothingKeepsAll("It costs 30 points.", remedy="Serve both.", trial=trial())
    ended = tunesmith("adapters", "merge", "a", "b", "--auto", "--out", "o")
    assert ended.status == 1
    assert "-10 points (-20..-0)" in ended.out
    assert "error: It costs 30 points." in ended.err
    document = tunesmith("adapters", "merge", "a", "b", "--auto", "--out", "o", "--json").document
    assert document["error"] == {
        "code": "conflict",
        "message": "It costs 30 points.",
        "remedy": "Serve both.",
    }
    assert document["scores"][0]["arms"]["linear"]["drop"]["mean"] == 0.3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("conflicts", "a"), "nothing to clash with"),
        (("merge", "a", "b", "--out", "o"), "How are they combined?"),
        (("merge", "a", "b", "--out", "o", "--auto", "--method", "ties"), "auto chooses"),
        (("merge", "a", "b", "--out", "o", "--auto", "--weights", "1,x"), "are not numbers"),
        (("merge", "a", "b", "--out", "o", "--method", "ties", "--rank", "1,2"), "several values"),
    ],
)
def test_wrong_usage_is_refused_with_the_way_out(tunesmith, asked, words, said):
    ended = tunesmith("adapters", *words)
    assert ended.status == 2
    assert said in ended.err
    assert "call" not in asked
