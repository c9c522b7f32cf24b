"""Tasks of lm-eval: its requests become spans, its own code reads the answers."""

import json
import math
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

from tests.models.tiny import tiny_tokenizer
from tunesmith.errors import ConfigError
from tunesmith.evaluate.forgetting.lm_eval_task import lm_eval_probes
from tunesmith.evaluate.forgetting.multiple_choice import MultipleChoice, Question
from tunesmith.evaluate.forgetting.spans import Reader

READER = Reader(tiny_tokenizer(), 60)
QUESTIONS = MultipleChoice("q", (Question("one", ("a", "bb"), 0), Question("two", ("c", "d"), 1)))


class FakeTask:
    """As much of a task as is used."""

    def __init__(self, kind, requests):
        self.OUTPUT_TYPE = kind
        self.requests, self.instances = requests, None
        self.seed = None

    def set_fewshot_seed(self, seed):
        self.seed = seed

    def build_all_requests(self):
        # lm-eval's order is by document, but nothing says so
        self.instances = [
            SimpleNamespace(doc={"id": doc}, doc_id=doc, idx=idx, args=args)
            for doc, idx, args in reversed(self.requests)
        ]

    def process_results(self, doc, results):
        if self.OUTPUT_TYPE == "loglikelihood_rolling":
            (total,) = results
            return {"word_perplexity": (total, 4), "byte_perplexity": (total, 8)}
        values = [value for value, _ in results]
        question = QUESTIONS.questions[doc["id"]]
        lengths = [len(choice) for choice in question.choices]
        return {
            "acc": float(np.argmax(values) == question.gold),
            "acc_norm": float(np.argmax(np.array(values) / lengths) == question.gold),
        }


CHOICES = [
    (doc, idx, (question.context, f" {choice}"))
    for doc, question in enumerate(QUESTIONS.questions)
    for idx, choice in enumerate(question.choices)
]
TEXTS = [(0, 0, ("hello world",)), (1, 0, ("a text",))]


@pytest.fixture
def lm_eval(monkeypatch):
    """A stand-in for the package whose manager knows the tasks that a test puts there."""
    known = {}

    class TaskManager:
        def __init__(self, include_path=None):
            known["include_path"] = include_path

        def load(self, names):
            return {"tasks": {name: known[name] for name in names}}

    package, tasks = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.tasks")
    tasks.TaskManager = TaskManager
    monkeypatch.setitem(sys.modules, "lm_eval", package)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    return known


def logs(*values):
    return [np.array([value], dtype=np.float32) for value in values]


def test_a_task_of_choices_scores_as_the_same_questions_of_ours(lm_eval):
    lm_eval["q"] = FakeTask("multiple_choice", CHOICES)
    (probe,) = lm_eval_probes("q")
    assert lm_eval["q"].seed == 1234
    assert probe.spans(READER) == QUESTIONS.spans(READER)
    base, tuned = logs(-1.0, -2.5, -3.0, -4.0), logs(-2.0, -1.0, -5.0, -4.0)
    ours = QUESTIONS.measured(base, tuned, seed=0)
    found = probe.measured(base, tuned, seed=0)
    assert (found.probe, found.answers) == ("q", ours.answers)
    assert found.difference(0.95) == ours.difference(0.95)
    assert found.details == ours.details


def test_requests_of_other_contexts_do_not_share_a_beginning(lm_eval):
    plain = [(0, i, ("one", " a")) for i in range(2)] + [(0, 2, ("", " a"))]
    lm_eval["q"] = FakeTask("multiple_choice", plain)
    (probe,) = lm_eval_probes("q")
    spans = probe.spans(READER)
    assert [span.group for span in spans] == [0, 0, 1]


def test_a_task_of_texts_counts_words_by_itself(lm_eval):
    lm_eval["t"] = FakeTask("loglikelihood_rolling", TEXTS)
    (probe,) = lm_eval_probes("t")
    assert list(probe.spans(READER)) == [
        span for spans in READER.texts(["hello world", "a text"]) for span in spans
    ]
    base = [np.full(100, -0.2), np.full(100, -0.1)]
    found = probe.measured(base, base, seed=0)
    assert found.base == pytest.approx(math.exp(30 / 200))
    assert found.details["word_perplexity"]["base"] == pytest.approx(math.exp(30 / 8))
    assert found.details["byte_perplexity"]["tuned"] == pytest.approx(math.exp(30 / 16))


def test_a_task_file_is_found_in_its_folder(lm_eval, tmp_path):
    lm_eval["mine"] = FakeTask("multiple_choice", CHOICES)
    (probe,) = lm_eval_probes(str(tmp_path / "mine.yaml"))
    assert (probe.name, lm_eval["include_path"]) == ("mine", str(tmp_path))


def test_a_task_that_generates_and_one_that_cannot_be_made_are_refused(lm_eval):
    lm_eval["g"] = FakeTask("generate_until", CHOICES)
    with pytest.raises(ConfigError, match="asks for generate_until"):
        list(lm_eval_probes("g"))
    with pytest.raises(ConfigError, match="cannot make the task `none`: KeyError"):
        list(lm_eval_probes("none"))


def test_the_real_package_makes_the_same_spans(tmp_path):
    pytest.importorskip("lm_eval")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(
            json.dumps({"query": q.context, "choices": list(q.choices), "gold": q.gold}) + "\n"
            for q in QUESTIONS.questions
        )
    )
    task = tmp_path / "mine.yaml"
    task.write_text(
        "task: mine\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: '{rows}'}}}}\n"
        "test_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{query}}'\ndoc_to_choice: choices\ndoc_to_target: gold\n"
        "metric_list: [{metric: acc}, {metric: acc_norm}]\n"
    )
    (probe,) = lm_eval_probes(str(task))
    assert probe.spans(READER) == QUESTIONS.spans(READER)
    base, tuned = logs(-1.0, -2.5, -3.0, -4.0), logs(-2.0, -1.0, -5.0, -4.0)
    assert (
        probe.measured(base, tuned, seed=0).answers
        == QUESTIONS.measured(base, tuned, seed=0).answers
    )
