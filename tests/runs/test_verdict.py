"""A run ends with its verdict: checks and probes in one document, the base asked once."""

import json

import pytest

from tests.runs.tiny import ONE_CHECKPOINT, UNMEASURED, config
from tunesmith.config import load_run_config
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import Cancelled, Phase, Progress
from tunesmith.evaluation import likelihoods, probe_run
from tunesmith.evaluation.comparison import TUNED
from tunesmith.runs.run import resume_run, train_run
from tunesmith.studies.compare import compare_runs
from tunesmith.studies.variants import Variant


def probes(folder):
    """A probe of questions and one of text, small."""
    rows = [
        {"query": f"is it {i}?", "choices": [f"{i * 3}", f"so {i}", "no"], "gold": i % 3}
        for i in range(12)
    ]
    questions, text = folder / "questions.jsonl", folder / "text.txt"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text.write_text("it is so and not otherwise, " * 50)
    return [str(questions), str(text)]


def made(folder, **changes):
    evaluate = {
        **UNMEASURED,
        "checks": [{"kind": "exact"}],
        "max_new_tokens": 4,
        "forgetting": {"probes": probes(folder), "perplexity_percent": 400.0},
    }
    return config(folder, evaluate=evaluate, goal="Say what it is", **changes)


@pytest.fixture
def arms(monkeypatch):
    """Who was asked for log-likelihoods, call by call."""
    asked = []
    scored = probe_run.log_likelihoods

    def counted(engine, spans, adapters, **options):
        asked.append([None if each is None else "adapter" for each in adapters])
        return scored(engine, spans, adapters, **options)

    monkeypatch.setattr(probe_run, "log_likelihoods", counted)
    return asked


def test_the_document_has_the_verdict_and_what_was_forgotten(tmp_path, arms):
    summary = train_run(made(tmp_path))
    document = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert summary.evaluation == document
    verdict, arm = document["verdict"], document["arms"][TUNED]["checks"]["exact"]
    assert verdict["goal"] == "Say what it is"
    assert verdict["answer"] in ("yes", "no", "cannot-tell")
    assert f"{100 * arm['score']:.0f} % of answers now pass" in verdict["text"]
    # one source: what decided is what the table shows
    shown = document["differences"]["exact"][verdict["against"]]
    assert verdict["difference"]["mean"] == shown["mean"]
    assert [each["probe"] for each in document["forgetting"]] == ["questions", "text"]
    keys = {"probe", "base", "tuned", "difference", "low", "high"}
    assert keys <= document["forgetting"][0].keys()
    assert document["forgetting"][1]["margin"] == 4.0
    assert arms == [[None], ["adapter"]]


def test_full_fine_tuning_asks_the_base_before_it_changes(tmp_path, arms):
    summary = train_run(made(tmp_path, method={"kind": "full"}, train=ONE_CHECKPOINT))
    assert arms == [[None], [None]]
    found = summary.evaluation["forgetting"]
    assert any(each["base"] != each["tuned"] for each in found)


def test_a_comparison_asks_the_base_once(tmp_path, arms):
    base = made(tmp_path)
    variants = [
        Variant(f"rank {rank}", base.model_copy(update={"method": method}))
        for rank in (1, 2)
        for method in [base.method.model_copy(update={"rank": rank})]
    ]
    comparison = compare_runs(variants, tmp_path / "all")
    assert arms == [[None], ["adapter"], ["adapter"]]
    first, second = (row.summary.evaluation["forgetting"] for row in comparison.rows)
    assert [each["base"] for each in first] == [each["base"] for each in second]


def test_none_measures_nothing_and_says_so(tmp_path, arms):
    summary = train_run(config(tmp_path))
    assert summary.evaluation["forgetting"] is None
    assert " Elsewhere: not measured. " in summary.evaluation["verdict"]["text"]
    assert arms == []


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_stop_while_probing_is_gone_on_with(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", 200)
    seen = []

    def emit(event):
        seen.append(isinstance(event, Phase) and "forgetting" in event.phase)

    wanted = made(tmp_path, method={"kind": kind})
    if kind == "full":  # the base is asked before the first step
        with pytest.raises(Cancelled):
            train_run(wanted, progress=Progress(emit, cancelled=lambda: any(seen)))
    else:
        run = train_run(wanted, progress=Progress(emit, cancelled=lambda: any(seen)))
        assert (run.reason, run.evaluation) == ("stopped", None)
    again = resume_run(tmp_path / "run")
    assert again.evaluation["forgetting"] is not None


def test_a_probe_that_cannot_be_read_is_refused_before_the_training(tmp_path):
    evaluate = {"checks": [{"kind": "exact"}], "forgetting": str(tmp_path / "none.jsonl")}
    events = []
    with pytest.raises(ConfigError, match=r"none\.jsonl: does not exist"):
        train_run(config(tmp_path, evaluate=evaluate), progress=Progress(events.append))
    assert not any(type(event).__name__ == "Step" for event in events)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("default", ForgettingSettings()),
        ("none", None),
        (None, None),
        ("a.jsonl", ForgettingSettings(probes=("a.jsonl",))),
        (["copa", "b.txt"], ForgettingSettings(probes=("copa", "b.txt"))),
        ({"accuracy_points": 2}, ForgettingSettings(accuracy_points=2)),
    ],
)
def test_a_word_a_list_or_keys_say_what_is_probed(given, expected):
    values = {
        "data": {"train": "a.jsonl"},
        "evaluate": {"checks": [{"kind": "exact"}], "forgetting": given},
    }
    loaded = load_run_config(None, values)
    assert loaded.evaluate.forgetting == expected
    assert load_run_config(None, loaded.model_dump(mode="json", by_alias=True)) == loaded


def test_probes_without_checks_would_have_no_effect_and_are_refused():
    values = {"data": {"train": "a.jsonl"}, "evaluate": {"forgetting": "mine.jsonl"}}
    with pytest.raises(ConfigError, match="no effect without checks"):
        load_run_config(None, values)
    values["evaluate"]["forgetting"] = "none"
    assert load_run_config(None, values).evaluate.forgetting is None
