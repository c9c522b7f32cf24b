"""Probes by name: those that come along, files, tasks of lm-eval, and all faults at once."""

import json
import sys

import pytest

from tests.source import SRC
from tunesmith.errors import ConfigError
from tunesmith.evaluate.forgetting.named import BUNDLED, probes_named

FOLDER = SRC / "tunesmith" / "evaluate" / "forgetting" / "probes"
ROW = json.dumps({"query": "q", "choices": ["a", "b"], "gold": 1}) + "\n"


def test_the_default_is_every_bundled_probe():
    probes = probes_named(["default"])
    assert tuple(probe.name for probe in probes) == BUNDLED
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(BUNDLED)
    assert probes_named(["copa"]) == (probes[BUNDLED.index("copa")],)


def test_bundled_probes_are_small_and_credited():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.jsonl`" in readme for name in BUNDLED)


def test_bundled_questions_are_worded_as_lm_eval_words_them():
    for name in ("arc_easy", "piqa"):
        (probe,) = probes_named([name])
        assert len(probe.questions) == 300
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
    assert "bad.jsonl:2: query and choices and gold missing" in told
    assert "more than one probe is called copa" in told


def test_a_task_of_lm_eval_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(ConfigError, match="needs lm-eval, which is not installed") as error:
        probes_named(["lm_eval:hellaswag"])
    assert "tunesmith[lm-eval]" in str(error.value)
