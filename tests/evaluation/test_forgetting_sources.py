"""Probe files: questions, texts, and every fault with its line."""

import json
import math
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

from tests.models.tiny import tiny_tokenizer
from tests.source import SRC
from tunesmith.core.errors import ConfigError
from tunesmith.data.faults import FaultyData
from tunesmith.evaluation.forgetting_probes import ChoiceQuestion, MultipleChoice, PlainText
from tunesmith.evaluation.forgetting_sources import (
    MIN_CHARACTERS,
    lm_eval_probes,
    probes_named,
    read_probe,
)
from tunesmith.evaluation.likelihoods import Reader
from tunesmith.evaluation.probe_names import BUNDLED, KNOWLEDGE

GOOD = {"query": "q", "choices": ["a", "b"], "gold": 1}
LONG = "word " * MIN_CHARACTERS


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def faults(path):
    with pytest.raises(FaultyData) as error:
        read_probe(path)
    return [(fault.line, fault.code) for fault in error.value.faults]


def test_rows_of_questions_are_a_probe_named_like_the_file(tmp_path):
    path = write(tmp_path / "mine.jsonl", GOOD, {**GOOD, "query": "", "gold": 0, "more": 1})
    assert read_probe(path) == MultipleChoice(
        "mine", (ChoiceQuestion("q", ("a", "b"), 1), ChoiceQuestion("", ("a", "b"), 0))
    )
    assert read_probe(path, name="other").name == "other"


def test_rows_that_share_a_line_are_all_read(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [json.dumps({**GOOD, "query": query}) for query in "abc"]
    path.write_text(f"[{rows[0]},\n{rows[1]}, {rows[2]}]")
    wanted = tuple(ChoiceQuestion(query, ("a", "b"), 1) for query in "abc")
    assert read_probe(path) == MultipleChoice("mine", wanted)
    bad = json.dumps({**GOOD, "gold": 9})
    path.write_text(f"[{rows[0]},\n{bad}, {rows[1]}, {bad}]")
    assert faults(path) == [(2, "wrong_gold"), (2, "wrong_gold")]


def test_rows_of_texts_are_texts_and_a_text_file_is_one(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"text": LONG}, {"text": "short"})
    assert read_probe(path) == PlainText("mine", (LONG, "short"))
    text = tmp_path / "book.txt"
    text.write_bytes(b"\xef\xbb\xbf" + (LONG + "\n é").encode())
    assert read_probe(text) == PlainText("book", (LONG + "\n é",))


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"query": "q", "choices": ["a", "b"]}, "missing_column"),
        ({"context": "q", "continuation": "a"}, "missing_column"),
        ({**GOOD, "query": 3}, "wrong_type"),
        ({**GOOD, "choices": "ab"}, "wrong_type"),
        ({**GOOD, "choices": ["a", 2]}, "wrong_type"),
        ({**GOOD, "choices": ["a"], "gold": 0}, "empty"),
        ({**GOOD, "choices": ["a", " "]}, "empty"),
        ({**GOOD, "gold": 2}, "wrong_gold"),
        ({**GOOD, "gold": -1}, "wrong_gold"),
        ({**GOOD, "gold": True}, "wrong_gold"),
        ({**GOOD, "gold": "b"}, "wrong_gold"),
    ],
)
def test_a_faulty_question_is_told_with_its_line(tmp_path, row, code):
    assert faults(write(tmp_path / "p.jsonl", GOOD, row, GOOD)) == [(2, code)]


def test_all_faults_are_told_at_once(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GOOD, "gold": 5}, GOOD, {"query": "q"})
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    assert faults(path) == [(1, "wrong_gold"), (3, "missing_column"), (4, "broken_json")]


def test_texts_and_questions_do_not_mix(tmp_path):
    path = write(tmp_path / "p.jsonl", {"text": LONG}, GOOD, {"text": " "}, {"text": 3})
    assert faults(path) == [(2, "missing_column"), (3, "empty"), (4, "wrong_type")]


def test_too_little_text_has_no_interval(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("x" * (MIN_CHARACTERS - 1))
    assert faults(path) == [(None, "too_little")]
    path.write_text("x" * MIN_CHARACTERS)
    assert read_probe(path).name == "p"
    path.write_text("")
    assert faults(path) == [(None, "empty_file")]
    path.write_bytes(b"\xff\xfe")  # UTF-16's mark alone
    assert faults(path) == [(1, "empty")]


def test_what_is_no_probe_file_is_told(tmp_path):
    assert faults(tmp_path / "none.jsonl") == [(None, "missing_file")]
    (tmp_path / "p.csv").write_text("a")
    assert faults(tmp_path / "p.csv") == [(None, "unknown_file_kind")]
    (tmp_path / "p.jsonl").write_text("")
    assert faults(tmp_path / "p.jsonl") == [(None, "empty_file")]


READER = Reader(tiny_tokenizer(), 60)
QUESTIONS = MultipleChoice(
    "q", (ChoiceQuestion("one", ("a", "bb"), 0), ChoiceQuestion("two", ("c", "d"), 1))
)


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


FOLDER = SRC / "tunesmith" / "evaluation" / "probes"
ROW = json.dumps({"query": "q", "choices": ["a", "b"], "gold": 1}) + "\n"


def test_the_default_is_what_a_base_knows():
    probes = probes_named(["default"])
    assert tuple(probe.name for probe in probes) == KNOWLEDGE
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(BUNDLED)
    assert probes_named(["copa"]) == (probes[KNOWLEDGE.index("copa")],)


def test_bundled_probes_are_small_and_credited():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 750_000
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.jsonl`" in readme for name in BUNDLED)


def test_bundled_questions_are_worded_as_lm_eval_words_them():
    for name in ("arc_easy", "piqa"):
        (probe,) = probes_named([name])
        assert len(probe.questions) == 700
        assert all(q.context.startswith("Question: ") for q in probe.questions)
        assert all(q.context.endswith("\nAnswer:") for q in probe.questions)
        assert all(q.choices for q in probe.questions)
    (text,) = probes_named(["wikitext"])
    assert not any(mark in each for each in text.texts for mark in ("<unk>", " ,", " @", "  "))


def test_a_file_is_named_by_its_path(tmp_path):
    (tmp_path / "mine.jsonl").write_text(ROW)
    found = probes_named(["copa", str(tmp_path / "mine.jsonl")])
    assert [probe.name for probe in found] == ["copa", "mine"]


def test_every_fault_of_every_name_is_told(tmp_path):
    (tmp_path / "bad.jsonl").write_text(ROW + "{}\n")
    (tmp_path / "copa.jsonl").write_text(ROW)
    names = ["arc", str(tmp_path / "bad.jsonl"), "copa", str(tmp_path / "copa.jsonl")]
    with pytest.raises(ConfigError) as error:
        probes_named(names)
    told = str(error.value)
    assert "there is no probe `arc`. Bundled are arc_easy, piqa" in told
    assert 'bad.jsonl:2: "query" is missing; "choices" is missing; "gold" is missing' in told
    assert "more than one probe is called copa" in told


def test_a_task_of_lm_eval_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(ConfigError, match="needs the package lm_eval") as error:
        probes_named(["lm_eval:hellaswag"])
    assert "tunesmith[lm-eval]" in str(error.value)
