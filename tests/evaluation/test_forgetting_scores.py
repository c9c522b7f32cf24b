"""What tuning cost: nothing for an adapter that changes nothing, much for one that ruins it."""

import json

import pytest
import torch

from tests.runs.tiny import base_folder
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.config.methods import FullSettings, LoraSettings, PTuningSettings
from tunesmith.core.errors import ConfigError, ModelError
from tunesmith.core.progress import Cancelled, Notice, Progress
from tunesmith.evaluation import base_scores, probe_run
from tunesmith.evaluation.likelihoods import log_likelihoods
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, hash_folder


@pytest.fixture
def loaded(tmp_path):
    return open_base(str(base_folder(tmp_path / "base")), dtype="float32")


@pytest.fixture
def arms(monkeypatch):
    """Who was asked for log-likelihoods, call by call."""
    asked, scored = [], probe_run.log_likelihoods

    def counted(engine, spans, adapters, **options):
        asked.append(list(adapters))
        return scored(engine, spans, adapters, **options)

    monkeypatch.setattr(probe_run, "log_likelihoods", counted)
    return asked


def settings(folder, **changes):
    """Two probes of questions and one of text."""
    for name, count in (("few", 8), ("more", 30)):
        rows = [
            {
                "query": f"is it {i}, {name}?",
                "choices": [f"{i * 3}", f"so {i}", "no"],
                "gold": i % 3,
            }
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"text": " ".join(f"{i} hello {i * j}" for j in range(5))} for i in range(30)]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    paths = [str(folder / f"{name}.jsonl") for name in ("few", "more", "text")]
    return ForgettingSettings(probes=paths, **changes)


def ruin(parameters, by=0.3):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter += by * torch.randn(parameter.shape, generator=generator)


def test_an_adapter_at_its_start_forgot_nothing(loaded, tmp_path):
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    found = ProbeRun(loaded, settings(tmp_path)).forgetting("mine")
    assert [each.probe for each in found.findings] == ["few", "more", "text", "all questions"]
    assert [each.part for each in found.findings] == [True, True, False, False]
    assert all(each.base == each.tuned for each in found.findings)
    text = found.findings[2]
    assert (text.measure, text.outcome) == ("perplexity", "kept")
    assert (text.difference.low, text.difference.high) == (0.0, 0.0)


def test_an_adapter_that_makes_texts_unlikelier_forgot_and_the_base_is_as_it_was(loaded, tmp_path):
    probing = ProbeRun(loaded, settings(tmp_path, perplexity_percent=0.5))
    adapter = table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    before = probing.forgetting("mine")
    ruin(adapter.parameters.values())
    adapter.refresh()
    after = probing.forgetting("mine")
    text = after.findings[2]
    assert (text.outcome, after.outcome) == ("forgotten", "forgotten")
    assert text.difference.low > 0.005
    assert [each.base for each in after.findings] == [each.base for each in before.findings]


def test_the_base_is_asked_once_for_several_adapters(loaded, tmp_path, arms):
    probing = ProbeRun(loaded, settings(tmp_path))
    for name in ("a", "b"):
        table.attach(loaded.engine, LoraSettings(rank=2), name=name)
        probing.forgetting(name)
    assert arms == [[None], ["a"], ["b"]]
    # a prefix takes of the context: what still fits is scored as before, else both are again
    for name, tokens in (("c", 4), ("d", 230)):
        table.attach(loaded.engine, PTuningSettings(tokens=tokens), name=name)
        probing.forgetting(name)
        assert arms[-1] == [name]
    assert arms.count([None]) == 2


def test_a_base_that_is_trained_itself_is_asked_before(loaded, tmp_path):
    adapter = table.attach(loaded.engine, FullSettings(), name="default")
    probing = ProbeRun(loaded, settings(tmp_path))
    with pytest.raises(ValueError, match="before it is trained"):
        probing.forgetting(None)
    probing.score_base()
    same = probing.forgetting(None)
    assert all(each.base == each.tuned for each in same.findings)
    ruin(adapter.parameters.values(), by=1.0)
    adapter.refresh()
    assert probing.forgetting(None).outcome == "forgotten"


def test_margins_are_the_settings(loaded, tmp_path):
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    loose = settings(tmp_path, accuracy_points=100, perplexity_percent=7)
    found = ProbeRun(loaded, loose).forgetting("mine")
    assert [each.margin for each in found.findings] == [1.0, 1.0, pytest.approx(0.07), 1.0]
    assert found.outcome == "kept"


def test_it_is_cancelled_and_asked_again(loaded, tmp_path):
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    probing = ProbeRun(loaded, settings(tmp_path))
    with pytest.raises(Cancelled):
        ProbeRun(loaded, settings(tmp_path), progress=Progress(cancelled=lambda: True)).forgetting(
            "mine"
        )
    seen = []
    probing = ProbeRun(loaded, settings(tmp_path), progress=Progress(seen.append))
    probing.forgetting("mine")
    assert seen[-1].done == seen[-1].total == 8 * 3 + 30 * 3 + 30


def test_texts_longer_than_the_window_are_counted(loaded, tmp_path):
    long = {"query": "x" * 300, "choices": ["a", "b"], "gold": 0}
    (tmp_path / "long.jsonl").write_text(json.dumps(long) + "\n")
    notes = []
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    probing = ProbeRun(
        loaded,
        ForgettingSettings(probes=[str(tmp_path / "long.jsonl")]),
        progress=Progress(notes.append),
    )
    probing.forgetting("mine")
    assert [each.message for each in notes if isinstance(each, Notice)] == [
        "long: 2 texts longer than 256 tokens, cut in front"
    ]


def test_what_cannot_be_probed_is_told_before_anything_is_trained(loaded, tmp_path):
    with pytest.raises(ConfigError, match=r"no probe `nope`"):
        ProbeRun(loaded, ForgettingSettings(probes=["nope"]))
    table.attach(loaded.engine, PTuningSettings(tokens=250), name="mine")
    with pytest.raises(ModelError, match="leaves 6 tokens"):
        ProbeRun(loaded, settings(tmp_path)).forgetting("mine")


def test_a_bases_scores_are_computed_once_for_a_number_format(loaded, tmp_path, arms):
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    first = ProbeRun(loaded, settings(tmp_path))
    assert not first.knows_base
    before = first.forgetting("mine")
    again = ProbeRun(loaded, settings(tmp_path))
    assert again.knows_base
    after = again.forgetting("mine")
    assert arms == [[None], ["mine"], ["mine"]]
    assert [f.base for f in after.findings] == [f.base for f in before.findings]
    other = ProbeRun(loaded, ForgettingSettings(probes=["copa"]))
    assert not other.knows_base
    narrow = open_base(loaded.base.name, dtype="bfloat16")
    assert not ProbeRun(narrow, settings(tmp_path)).knows_base
    table.attach(narrow.engine, LoraSettings(rank=2), name="mine")
    for each in ProbeRun(narrow, settings(tmp_path)).forgetting("mine").findings:
        assert each.base == each.tuned
    assert ProbeRun(narrow, settings(tmp_path)).knows_base


def test_scores_that_the_package_brings_are_the_bases_own(loaded, tmp_path, monkeypatch):
    made = ProbeRun(loaded, settings(tmp_path))
    found = {}
    for spans in made.spans_by_look()[0]:
        (logs,) = log_likelihoods(loaded.engine, spans, [None])
        found[base_scores.name_of_spans(spans)] = base_scores.packed(logs)
    path = tmp_path / "scores.json"
    of_base = {"torch.float32": found}
    path.write_text(json.dumps({hash_folder(loaded.base.folder)[COMBINED]: of_base}))
    monkeypatch.setattr(base_scores, "BROUGHT", str(path))
    probing = ProbeRun(loaded, settings(tmp_path))
    assert probing.knows_base
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    for each in probing.forgetting("mine").findings:
        assert each.base == pytest.approx(each.tuned, rel=1e-5)


@pytest.mark.slow
def test_the_default_bases_scores_come_with_the_package(default_model_folder):
    loaded = open_base("smollm2-135m-instruct", dtype="float32")
    probing = ProbeRun(loaded, ForgettingSettings(probes=["copa"]))
    assert probing.knows_base
    ((spans,),) = probing.spans_by_look()
    known = base_scores.BaseScores(loaded.base, "").of(spans)
    (logs,) = log_likelihoods(loaded.engine, spans, [None])
    assert all(a == pytest.approx(b, abs=1e-3) for a, b in zip(known, logs, strict=True))


def test_more_is_asked_only_where_the_first_look_leaves_it_unclear(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.evaluation.forgetting_probes.FIRST", 20)
    monkeypatch.setattr("tunesmith.evaluation.forgetting_probes.ENOUGH_MORE", 10)
    table.attach(loaded.engine, LoraSettings(rank=2), name="mine")
    path = settings(tmp_path).probes[1]  # 30 questions
    clear = ProbeRun(loaded, ForgettingSettings(probes=[path], accuracy_points=30))
    (finding,) = clear.forgetting("mine").findings
    assert (finding.outcome, finding.difference.n) == ("kept", 20)
    narrow = ProbeRun(loaded, ForgettingSettings(probes=[path], accuracy_points=1))
    (finding,) = narrow.forgetting("mine").findings
    assert (finding.outcome, finding.difference.n) == ("unclear", 30)
    assert narrow.tokens_of_second_look("mine") > 0
    assert clear.tokens("mine") == narrow.tokens("mine")
    # both looks together are what asking all at once finds
    monkeypatch.setattr("tunesmith.evaluation.forgetting_probes.FIRST", 100)
    whole = ProbeRun(loaded, ForgettingSettings(probes=[path], accuracy_points=1))
    (at_once,) = whole.forgetting("mine").findings
    assert (at_once.base, at_once.tuned) == (finding.base, finding.tuned)


def test_a_base_that_is_trained_is_asked_all_before(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.evaluation.forgetting_probes.FIRST", 20)
    monkeypatch.setattr("tunesmith.evaluation.forgetting_probes.ENOUGH_MORE", 10)
    adapter = table.attach(loaded.engine, FullSettings(), name="default")
    path = settings(tmp_path).probes[1]
    probing = ProbeRun(loaded, ForgettingSettings(probes=[path], accuracy_points=1))
    probing.score_base()
    before = probing.forgetting(None).findings[0].base
    ruin(adapter.parameters.values(), by=1.0)
    adapter.refresh()
    (finding,) = probing.forgetting(None).findings
    assert (finding.base, finding.difference.n) == (before, 30)
