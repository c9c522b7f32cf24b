"""`evaluate`: the same judgement as at the end of a training, again, elsewhere, and of less."""

import json
import shutil
from functools import cache, partial

import pytest

from tests.runs.test_verdict import probes
from tests.runs.tiny import ONE_CHECKPOINT, UNMEASURED, base_folder, config, rows_file
from tests.runs.trained import copy_of
from tunesmith.core.errors import ConfigError, DataError, RunError
from tunesmith.core.progress import Cancelled, Notice, Phase, Progress
from tunesmith.evaluation import answering, score_cache
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.runs.evaluated import known_evaluation
from tunesmith.runs.folder import alone
from tunesmith.runs.run import resume_run, train_run

METHODS = ({"kind": "lora", "rank": 2}, {"kind": "p-tuning", "tokens": 3}, {"kind": "full"})
RANK = {"lora": {"rank": 2}, "full": {}}


def made(folder, *, measures=UNMEASURED, **changes):
    evaluate = {
        **measures,
        "checks": [{"kind": "exact"}, {"kind": "contains", "texts": ["it"]}],
        "max_new_tokens": 6,
        "timed_rows": 0,
        "examples": 2,
        "baseline_prompt": "Say seven times the number.",
        "forgetting": {"probes": probes(folder), "perplexity_percent": 400.0},
    }
    return config(folder, evaluate=evaluate, goal="Say what it is", **changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a run of each of two kinds, that none of the tests changes."""

    @cache
    def of(kind):
        folder = tmp_path_factory.mktemp(kind)
        train_run(made(folder, method={"kind": kind, **RANK[kind]}))
        return folder

    return of


@pytest.fixture
def trained(folders, tmp_path):
    """Puts a copy of such a folder in the place of the test's own."""
    return lambda kind="lora": copy_of(folders(kind), tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """An entry for each answer of an arm that was generated, and so kept."""
    calls = []
    keep = answering.AnswerCache.keep

    def counted(cache, prompt, answer):
        calls.append(1)
        keep(cache, prompt, answer)

    monkeypatch.setattr(answering.AnswerCache, "keep", counted)
    return calls


@pytest.fixture
def scored(monkeypatch):
    """The name of each text that was scored, and so kept."""
    names = []
    keep = score_cache.ScoreCache._keep

    def counted(cache, name, computed):
        if cache.path is not None:  # None: its time is measured
            names.append(name)
        return keep(cache, name, computed)

    monkeypatch.setattr(score_cache.ScoreCache, "_keep", counted)
    return names


@pytest.mark.parametrize("method", METHODS[:2], ids=lambda method: method["kind"])
def test_probes_that_were_scored_in_training_are_not_scored_again(tmp_path, scored, method):
    train_run(made(tmp_path, method=method))
    assert scored
    scored.clear()
    evaluated(tmp_path / "run", {"evaluate": {"max_new_tokens": 5}})
    assert scored == []


def evaluated(target, overrides=None, **options):
    events = []
    found = evaluate_target(
        str(target), overrides or {}, progress=Progress(events.append), **options
    )
    return found, [event.message for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["kind"])
def test_a_run_is_judged_again_as_at_the_end_of_its_training(tmp_path, asked, method):
    run = made(tmp_path, measures={}, method=method)
    first = train_run(run)
    generated = sum(asked)
    lines = (tmp_path / "run" / "answers.jsonl").read_text()
    found, _ = evaluated(tmp_path / "run")
    assert sum(asked) == generated  # nothing is asked twice
    assert found.document.keys() == first.evaluation.keys()
    for key in found.document.keys() - {"cost"}:  # of which the speed is told in another way
        assert found.document[key] == first.evaluation[key], key
    spent = [
        document["cost"]["training_seconds"] for document in (found.document, first.evaluation)
    ]
    assert spent[0] == pytest.approx(spent[1], rel=1e-6)
    assert (tmp_path / "run" / "answers.jsonl").read_text() == lines
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == found.document


def test_the_result_inside_a_run_means_the_run(trained, tmp_path):
    trained()
    found, _ = evaluated(tmp_path / "run" / "adapter")
    assert found.folder == tmp_path / "run"


def test_changed_rows_of_which_some_are_held_out_are_reported(trained, tmp_path):
    trained()
    rows_file(tmp_path / "rows.jsonl", count=30)
    found, notices = evaluated(tmp_path / "run")
    (note,) = (text for text in notices if "may have been trained on" in text)
    assert str(tmp_path / "rows.jsonl") in note
    assert found.document["changed_rows"] == note
    assert known_evaluation(str(tmp_path / "run"), {}, data=None, out=None).notes == (note,)
    found, notices = evaluated(tmp_path / "run", data=str(rows_file(tmp_path / "other.jsonl", 7)))
    assert "changed_rows" not in found.document  # which were never trained on


def test_questions_that_were_trained_on_are_reported(trained, tmp_path):
    trained()
    found, notices = evaluated(tmp_path / "run", data=str(tmp_path / "rows.jsonl"))
    (note,) = (text for text in notices if "they ask what" in text)
    assert {"code": "leakage", "text": note} in found.document["caveats"]
    assert note in found.notes
    other = tmp_path / "other.jsonl"
    texts = ("rivers", "a green door", "why it rains")
    rows = [{"prompt": f"tell me of {text}", "completion": text} for text in texts]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, notices = evaluated(tmp_path / "run", data=str(other))
    assert not any("they ask what" in text for text in notices)
    assert not [each for each in found.document["caveats"] if each["code"] == "leakage"]


def test_rows_of_a_folder_that_were_changed_are_asked_again(tmp_path):
    (tmp_path / "held").mkdir()
    rows_file(tmp_path / "held" / "a.jsonl", count=5)
    config(tmp_path)
    data = {"train": str(tmp_path / "rows.jsonl"), "eval": str(tmp_path / "held")}
    train_run(config(tmp_path, data=data))
    known = partial(known_evaluation, str(tmp_path / "run"), {}, data=None, out=None)
    assert known() is not None
    rows_file(tmp_path / "held" / "a.jsonl", count=6)
    assert known() is None


def test_another_file_is_asked_with_other_settings_and_the_summary_tells_of_it(trained, tmp_path):
    trained()
    other = rows_file(tmp_path / "other.jsonl", count=7)
    changes = {"evaluate": {"examples": 0, "checks": [{"kind": "label"}], "forgetting": "none"}}
    found, _ = evaluated(tmp_path / "run", changes, data=str(other))
    document = found.document
    assert document["rows"] == 7
    assert list(document["arms"]) == ["base", "prompted", "tuned"]
    assert list(document["arms"]["tuned"]["checks"]) == ["label"]
    assert document["forgetting"] is None
    assert document["about"]["data"] == str(other)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["evaluation"] == document
    assert resume_run(tmp_path / "run").evaluation == document


def test_what_is_found_can_go_elsewhere_and_the_run_stays_as_it_is(trained, tmp_path):
    trained()
    before = {p: p.read_bytes() for p in (tmp_path / "run").glob("*.json*")}
    with alone(tmp_path / "run"):  # it takes no lock there, as where it may only be read
        found, _ = evaluated(tmp_path / "run", out=tmp_path / "deep" / "out")
    assert {p.name for p in (tmp_path / "deep" / "out").iterdir()} == {
        ".lock",
        "evaluation.json",
        "answers.jsonl",
    }
    assert found.folder == tmp_path / "deep" / "out"
    assert {p: p.read_bytes() for p in (tmp_path / "run").glob("*.json*")} == before


def test_without_the_training_rows_another_file_is_still_asked(trained, tmp_path):
    trained()
    other = rows_file(tmp_path / "other.jsonl", count=7)
    (tmp_path / "rows.jsonl").unlink()
    found, notices = evaluated(tmp_path / "run", data=str(other))
    assert list(found.document["arms"]) == ["base", "prompted", "tuned"]
    assert "no training row" in found.document["left_out"]["examples"]
    assert [text for text in notices if "rows.jsonl" in text and "`examples`" in text]
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        evaluated(tmp_path / "run")
    with pytest.raises(DataError, match=r"none\.jsonl"):
        evaluated(tmp_path / "run", data=str(tmp_path / "none.jsonl"))


def test_an_adapter_without_its_run_is_judged_on_a_file(trained, tmp_path):
    trained()
    shutil.copytree(tmp_path / "run" / "adapter", tmp_path / "mine")
    other = str(rows_file(tmp_path / "other.jsonl", count=7))
    checks = {"evaluate": {"checks": [{"kind": "exact"}], "max_new_tokens": 6, **UNMEASURED}}
    with pytest.raises(ConfigError, match=r"is not a run .*, so it has no held-out rows"):
        evaluated(tmp_path / "mine", checks)
    found, _ = evaluated(tmp_path / "mine", checks, data=other)
    assert list(found.document["arms"]) == ["base", "tuned"]
    assert found.folder is None
    rows = {"data": {"train": str(tmp_path / "rows.jsonl")}}
    found, _ = evaluated(tmp_path / "mine", {**checks, **rows}, data=other)
    assert list(found.document["arms"]) == ["base", "examples", "tuned"]
    ours, _ = evaluated(tmp_path / "run", checks, data=other)
    assert ours.document["arms"]["tuned"]["checks"] == found.document["arms"]["tuned"]["checks"]


def test_an_adapters_folder_alone_is_evaluated_as_what_it_is(tmp_path):
    base_folder(tmp_path / "base")
    rows_file(tmp_path / "rows.jsonl")
    train_run(made(tmp_path, method=METHODS[1]))
    shutil.copytree(tmp_path / "run" / "adapter", tmp_path / "mine")
    other = str(rows_file(tmp_path / "other.jsonl", count=7))
    checks = {"evaluate": {"checks": ["exact"], "max_new_tokens": 6, **UNMEASURED}}
    found, _ = evaluated(tmp_path / "mine", checks, data=other)
    assert found.document["about"]["method"] == "p-tuning"


def test_a_file_is_asked_whole_although_a_part_of_the_runs_own_rows_chose(tmp_path):
    data = {"train": str(tmp_path / "rows.jsonl"), "eval": 0.4, "validation": 0.5}
    base_folder(tmp_path / "base")
    rows_file(tmp_path / "rows.jsonl")
    train_run(made(tmp_path, data=data))
    other = str(rows_file(tmp_path / "other.jsonl", count=7))
    found, _ = evaluated(tmp_path / "run", data=other)
    assert found.document["rows"] == 7


def test_a_model_alone_is_asked_and_nothing_is_claimed_of_a_tuning(tmp_path):
    base = base_folder(tmp_path / "base")
    other = str(rows_file(tmp_path / "other.jsonl", count=7))
    asked = {"checks": [{"kind": "exact"}], "max_new_tokens": 6, "timed_rows": 1}
    found, notices = evaluated(base, {"evaluate": asked}, data=other)
    (said,) = [text for text in notices if "the evaluation takes" in text]
    assert not any(word in said for word in ("probes", "again", "facts"))
    document = found.document
    assert list(document["arms"]) == ["base"]
    assert document["about"]["method"] is None
    assert (document["verdict"]["answer"], document["cost"]) == ("cannot-tell", None)
    assert document["verdict"]["reasons"] == ["nothing-tuned"]
    assert document["verdict"]["text"] == "Nothing is tuned here. What passes `exact`: base 0 %."
    assert document["arms"]["base"]["seconds_per_answer"] > 0


def test_a_run_whose_base_is_gone_says_so_and_goes_on_where_it_is_now(trained, tmp_path):
    trained()
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"its base .*base cannot be used") as refused:
        evaluated(tmp_path / "run")
    assert (refused.value.code, "--model" in refused.value.remedy) == ("base_gone", True)
    found, notices = evaluated(tmp_path / "run", {"model": str(tmp_path / "elsewhere")})
    assert found.document["verdict"]["answer"]
    assert not [text for text in notices if "another base" in text]
    other = base_folder(tmp_path / "other", vocab_size=400)
    _, notices = evaluated(tmp_path / "run", {"model": str(other)})
    assert [text for text in notices if "was trained over another base" in text]


def test_a_run_without_a_result_checks_or_rows_is_refused(trained, tmp_path):
    trained()
    with pytest.raises(ConfigError, match="held no rows out"):
        evaluated(tmp_path / "run", {"data": {"eval": 0}})
    none = {"checks": [], "forgetting": "default", "baseline_prompt": None, "examples": 5}
    with pytest.raises(ConfigError, match="has no checks"):
        evaluated(tmp_path / "run", {"evaluate": {**none, "timed_rows": 5}})
    shutil.rmtree(tmp_path / "run" / "adapter")
    with pytest.raises(RunError, match="the run has no result yet"):
        evaluated(tmp_path / "run")


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("phase", ["answering", "timing", "scoring"])
def test_an_evaluation_that_is_stopped_writes_nothing_and_goes_on_later(
    trained, tmp_path, kind, phase
):
    trained(kind)
    before = (tmp_path / "run" / "evaluation.json").read_bytes()
    seen = []

    def emit(event):
        if isinstance(event, Phase) and event.phase.startswith(phase):
            seen.append(event)

    changes = {"evaluate": {"max_new_tokens": 5, "timed_rows": 2}}
    progress = Progress(emit, cancelled=lambda: bool(seen))
    with pytest.raises(Cancelled):
        evaluate_target(str(tmp_path / "run"), changes, progress=progress)
    assert (tmp_path / "run" / "evaluation.json").read_bytes() == before
    assert evaluated(tmp_path / "run", changes)[0].document is not None


def test_answers_of_the_data_that_would_be_cut_are_told(tmp_path):
    events = []
    train_run(made(tmp_path, train=ONE_CHECKPOINT), progress=Progress(events.append))
    (told,) = [e.message for e in events if isinstance(e, Notice) and "longer than" in e.message]
    assert "raise evaluate.max_new_tokens" in told
    changes = {"evaluate": {"max_new_tokens": 60, "forgetting": "none"}}
    _, notices = evaluated(tmp_path / "run", changes)
    assert not [text for text in notices if "longer than" in text]


def test_about_how_long_it_takes_is_said_before_anything_is_answered(tmp_path):
    events = []
    method = {"kind": "prompt", "tokens": 4}  # of a LoRA the probes are asked first
    train_run(made(tmp_path, train=ONE_CHECKPOINT, method=method), progress=Progress(events.append))
    told = [i for i, e in enumerate(events) if isinstance(e, Notice) and e.code == "judging"]
    first = next(
        i
        for i, e in enumerate(events)
        if isinstance(e, Phase) and e.phase.startswith(("answering", "timing", "scoring"))
    )
    assert len(told) == 1
    assert told[0] < first
    assert "answers (base, prompted, examples, tuned)" in events[told[0]].message
    assert "tokens of probes" in events[told[0]].message


def test_a_held_out_file_may_be_a_source_with_settings(tmp_path):
    held = rows_file(tmp_path / "held.jsonl", count=4)
    rows = rows_file(tmp_path / "rows.jsonl")
    base_folder(tmp_path / "base")
    source = {"path": str(held), "format": "prompt-completion"}
    train_run(made(tmp_path, data={"train": str(rows), "eval": source}))
    document = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert document["about"]["data"][0]["path"] == str(held)
