"""An evaluation that was stopped anywhere ends, resumed, as an unbroken one, and scores the rest.

What is counted as computed: streams of probes, groups of rows, answers that are generated.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.runs.tiny import config
from tunesmith.core.progress import Cancelled, Notice, Phase, Progress
from tunesmith.evaluation import answering, likelihoods
from tunesmith.runs import base_texts
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.runs.run import resume_run, train_run


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A config with every measure, whose scores come in several batches; a cache for each run."""
    monkeypatch.setattr(likelihoods, "STREAM_TOKENS", 300)
    monkeypatch.setattr(likelihoods, "TOKENS", 150)
    questions = [{"query": f"is it {i}?", "choices": [f"{i}", "no"], "gold": 0} for i in range(20)]
    texts = [{"text": " ".join(f"{i} hello {i * j}" for j in range(5))} for i in range(20)]
    facts = [{"query": f"what is {i}?", "answer": f"it is {i * 7}"} for i in range(3)]
    named = {"choices": questions, "text": texts, "facts": facts}
    for name, lines in named.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    probes = [str(tmp_path / "choices.jsonl"), str(tmp_path / "text.jsonl")]
    evaluate = {
        "checks": [{"kind": "exact"}],
        "max_new_tokens": 6,
        "forgetting": {"probes": probes, "perplexity_percent": 0.5, "accuracy_points": 50},
        "consistency": {"rows": 10, "samples": 2, "paraphrases": 1},
        "knowledge": {"questions": str(tmp_path / "facts.jsonl"), "max_new_tokens": 6},
        "num_fewshot": 1,
        "timed_rows": 1,
    }

    def make(name, **method):
        folder = tmp_path / f"cache-{name}"
        monkeypatch.setattr("tunesmith.evaluation.score_cache.cache_root", lambda: folder)
        return config(
            tmp_path,
            evaluate=evaluate,
            data={"train": str(tmp_path / "rows.jsonl"), "eval": 0.5},
            method=method or {"kind": "lora", "rank": 2},
            train={"steps": 6, "rows_per_step": 3, "save_steps": 3, "lr": 0.01},
            out=str(tmp_path / name),
        )

    return make


@pytest.fixture
def computed(monkeypatch):
    """How often each thing was computed."""
    counts = Counter()

    def counting(name, key):
        real = getattr(likelihoods, name)

        def call(*args, **named):
            counts[key(*args, *named.values())] += 1
            return real(*args, **named)

        monkeypatch.setattr(likelihoods, name, call)

    keep = answering.AnswerCache.keep

    def kept(cache, prompt, said):
        counts["answer", cache.path.name, prompt.ids, prompt.draw] += 1
        keep(cache, prompt, said)

    counting("_numbers", lambda _, stream, adapters: ("spans", repr(stream), adapters))
    counting("_losses", lambda _, texts, adapter: ("rows", repr(texts), adapter))
    monkeypatch.setattr(answering.AnswerCache, "keep", kept)
    return counts


class Stop:
    """Cancels at the ``at``-th time that it is asked after the training; counts how often it was,
    in which phases.
    """

    def __init__(self, at=None):
        self.at, self.asked, self.is_over, self.phases = at, 0, False, []

    def emit(self, event):
        self.is_over = self.is_over or event.name == "ended"
        if isinstance(event, Phase):
            self.phase = event.phase.split(" (")[0]

    def cancelled(self):
        if not self.is_over:
            return False
        self.asked += 1
        self.phases.append(self.phase)
        return self.at is not None and self.asked >= self.at

    @property
    def progress(self):
        return Progress(self.emit, cancelled=self.cancelled)


def untimed(value):
    """A document without what the clock says, which is measured anew by every evaluation."""
    if isinstance(value, dict):
        timed = ("seconds", "report", "requests_by_time", "text")
        return {k: untimed(v) for k, v in value.items() if not any(word in k for word in timed)}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def document(run):
    """What was found."""
    return untimed(json.loads((run / "evaluation.json").read_text()))


def moments(phases):
    """The first time and one in the middle of each phase in which a cancel is asked for."""
    found = set()
    for phase in dict.fromkeys(phases):
        places = [i for i, each in enumerate(phases, start=1) if each == phase]
        found |= {places[0], places[len(places) // 2]}
    return sorted(found)


def assert_same_in_the_end(made, computed, *, chosen, **method):
    """Of a run that is stopped at the moments that ``chosen`` takes of all, and resumed."""
    whole = Stop()
    train_run(made("whole", **method), progress=whole.progress)
    expected, counted = document(Path(made("whole", **method).out)), Counter(computed)
    for at in chosen(moments(whole.phases)):
        computed.clear()
        run = made(f"at-{at}", **method)
        stopped = train_run(run, progress=Stop(at).progress)
        assert stopped.reason == "stopped", whole.phases[at - 1]
        assert not (Path(run.out) / "evaluation.json").exists()
        assert resume_run(Path(run.out)).reason == "done"
        assert document(Path(run.out)) == expected, whole.phases[at - 1]
        assert computed == counted, whole.phases[at - 1]
    return set(whole.phases)


def test_a_run_stopped_in_its_evaluation_ends_as_an_unbroken_one(made, computed):
    phases = assert_same_in_the_end(made, computed, chosen=lambda all_: all_[4:5])
    assert {
        "scoring probes of forgetting",
        "answering 12 held-out questions",
        "timing 1 row one by one",
        "asking again",
        "asking facts in other words",
        "losses of trained and held-out rows",
    } <= phases


def test_a_run_resumed_after_its_last_step_prepares_no_further_one(made, monkeypatch):
    monkeypatch.setattr(base_texts, "TEXTS", 4)
    run = Path(made("run").out)
    train_run(made("run"), progress=Stop(2).progress)
    events = []
    assert resume_run(run, progress=Progress(events.append)).reason == "done"
    assert "planned" not in {event.name for event in events}
    phases = [event.phase for event in events if isinstance(event, Phase)]
    assert not any("retention" in phase for phase in phases)
    notices = {event.code: event.message for event in events if isinstance(event, Notice)}
    assert notices["resumed"] == "resumed after step 6, the last one"
    assert not {"retention", "length"} & notices.keys()
    assert notices["evaluation"].startswith("what is left is the evaluation: about ")
    assert notices["judging"].startswith("the evaluation takes about 1 second: ")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full", "prompt", "p-tuning"])
def test_a_run_stopped_in_any_phase_of_its_evaluation_ends_as_an_unbroken_one(made, computed, kind):
    assert_same_in_the_end(made, computed, chosen=lambda all_: all_, kind=kind)


def test_an_evaluation_alone_that_is_stopped_ends_as_an_unbroken_one(made, computed, tmp_path):
    run = made("run").out
    train_run(made("run"))
    made("whole")
    computed.clear()
    whole = Stop()
    whole.is_over = True
    evaluate_target(run, {}, out=tmp_path / "whole", progress=whole.progress)
    expected, counted = document(tmp_path / "whole"), Counter(computed)
    for at in moments(whole.phases)[3:4]:
        made(f"at-{at}")
        computed.clear()
        stop = Stop(at)
        stop.is_over = True
        with pytest.raises(Cancelled):
            evaluate_target(run, {}, out=tmp_path / "parts", progress=stop.progress)
        evaluate_target(run, {}, out=tmp_path / "parts")
        assert document(tmp_path / "parts") == expected, whole.phases[at - 1]
        assert computed == counted, whole.phases[at - 1]
