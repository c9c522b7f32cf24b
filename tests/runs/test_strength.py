"""A result speaks as strongly as it may: at the largest share that forgets no more than allowed."""

import json
import math
import re

import pytest
import torch
from safetensors.torch import load_file

from tests.methods.test_contract import rows
from tests.runs.tiny import ONE_CHECKPOINT, config
from tests.variants import attach, engine_for
from tunesmith.core.progress import Cancelled
from tunesmith.engine.pack import pack
from tunesmith.evaluation.evaluator import Evaluator
from tunesmith.evaluation.forgetting import AdapterScale, Forgetting
from tunesmith.evaluation.forgetting import ProbeFinding as Finding
from tunesmith.evaluation.intervals import Interval
from tunesmith.methods import table
from tunesmith.runs.run import train_run
from tunesmith.runs.selection import SHARES, find_scale

MARGIN = 0.05
VARIANTS = ("lora", "rslora", "pissa")


def forgetting(rise, probe="text"):
    known = Interval(rise, rise, rise, 9)
    outcome = "forgotten" if rise > MARGIN else "kept"
    found = Finding(probe, "perplexity", 10.0, 10 * (1 + rise), known, MARGIN, outcome, None, {})
    return Forgetting((found,), 0.95)


def trained(adapter, seed=0):
    """What an adapter may be after training: every matrix moved."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.trained.values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=g)
    adapter.refresh()
    return adapter


def deltas(engine, adapter):
    """What each layer's term adds to W, by the layer's name."""
    terms = {n: linear.terms.get(adapter.name) for n, linear in engine.linears.items()}
    zeros = {n: torch.zeros_like(engine.linears[n].weight) for n, term in terms.items() if term}
    return {n: terms[n].merged(zero) for n, zero in zeros.items()}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_share_of_an_adapter_is_that_share_of_what_it_adds(variant, tmp_path):
    engine = engine_for("llama", variant, tmp_path)
    adapter = trained(attach(engine, variant, tmp_path))
    whole = deltas(engine, adapter)
    table.scale_down_(adapter, 0.4, dict)
    for name, delta in deltas(engine, adapter).items():
        torch.testing.assert_close(delta, 0.4 * whole[name], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("home")
def test_no_share_of_it_is_the_base(tmp_path):
    engine = engine_for("llama", "lora", tmp_path)
    adapter = trained(attach(engine, "lora", tmp_path))
    table.scale_down_(adapter, 0.0, dict)
    with torch.no_grad():
        mine, base = (engine.hidden_states(pack(rows(who))) for who in (adapter.name, None))
    torch.testing.assert_close(mine, base)


def started(engine):
    """The base's weights, as another reading of it gives them."""
    kept = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    return lambda: kept


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_a_full_fine_tune_lies_between_the_weights(share, tmp_path):
    engine = engine_for("llama", "full", tmp_path)
    start = started(engine)
    adapter = trained(attach(engine, "full", tmp_path))
    whole = {name: p.detach().clone() for name, p in adapter.parameters.items()}
    table.scale_down_(adapter, share, start)
    for name, parameter in adapter.parameters.items():
        wanted = (1 - share) * start()[name] + share * whole[name]
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("home")
def test_a_full_fine_tune_that_no_share_helps_is_as_it_was_to_the_last_bit(tmp_path):
    engine = engine_for("llama", "full", tmp_path)
    start = started(engine)
    adapter = trained(attach(engine, "full", tmp_path))
    whole = {name: p.detach().clone() for name, p in adapter.parameters.items()}
    asking = {"score": lambda: 1.0, "forget": lambda _: forgetting(1.0)}
    found = find_scale(adapter, start, **asking, allowed=0.0, full=None)
    assert found.scale.share == 1.0
    assert all(torch.equal(p, whole[name]) for name, p in adapter.parameters.items())


@pytest.fixture
def adapter(home, tmp_path):
    return trained(attach(engine_for("llama", "lora", tmp_path), "lora", tmp_path))


class Told:
    """Forgetting and scores that follow from the share, which is read off the adapter."""

    def __init__(self, adapter, rise, score):
        self.adapter, self.rise, self.score_at = adapter, rise, score
        self.whole = self.size()
        self.asked = []

    def size(self):
        named = self.adapter.parameters.items()
        return sum(float(p.detach().norm()) for name, p in named if "lora_B" in name)

    @property
    def share(self):
        return self.size() / self.whole

    def forget(self, probes):
        self.asked.append((round(self.share, 3), probes))
        return forgetting(self.rise(self.share))

    def score(self):
        return self.score_at(self.share)

    def found(self, full=None):
        asking = {"score": self.score, "forget": self.forget}
        return find_scale(self.adapter, dict, **asking, allowed=0.03, full=full)


@pytest.mark.parametrize("share", [*SHARES, 0.0])
def test_the_largest_share_within_the_margin_is_found(adapter, share):
    told = Told(adapter, lambda s: 0.01 if s <= share + 1e-3 else 0.2, lambda _: 0.9)
    found = told.found()
    assert told.share == pytest.approx(share or 1.0)
    assert found.scale.share == pytest.approx(share or 1.0)
    assert found.scale.tried == (share or None)
    assert found.forgetting.outcome == ("kept" if share else "forgotten")
    looks = [probes for _, probes in told.asked]
    assert len(looks) <= 2 + math.ceil(math.log2(len(SHARES) + 1))
    assert looks.count(None) == 1 + bool(share)


def test_what_is_within_the_margin_stays_as_strong_as_it_was(adapter):
    told = Told(adapter, lambda _: 0.01, lambda s: s)
    assert (told.found().scale, told.share, len(told.asked)) == (None, 1.0, 1)


@pytest.mark.parametrize(("lost", "stands"), [(0.02, 0.5), (0.04, 1.0)])
def test_a_share_that_would_lose_the_skill_is_not_taken(adapter, lost, stands):
    told = Told(adapter, lambda s: 0.1 * s, lambda s: 0.9 if s > 0.99 else 0.9 - lost)
    found = told.found()
    assert (found.scale.share, found.scale.tried) == (stands, 0.5)
    assert told.share == pytest.approx(stands)
    assert found.forgetting.outcome == ("kept" if stands < 1 else "forgotten")
    assert ("stays 1" in found.scale.text()) == (stands == 1)


def test_without_scores_it_stays_as_strong_as_it_was(adapter):
    told = Told(adapter, lambda s: 0.1 * s, lambda _: math.nan)
    assert (told.found().scale, told.share) == (None, 1.0)


def test_a_run_whose_answers_cannot_be_scored_is_saved_all_the_same(tmp_path, monkeypatch):
    check = {"kind": "python", "function": f"{tmp_path / 'rule.py'}:score"}
    (tmp_path / "rule.py").write_text("def score(answer, reference):\n    raise ValueError('no')\n")
    values = config(tmp_path).evaluate.model_dump(mode="json")
    evaluate = {**values, "forgetting": "default", "checks": [check]}

    rises = iter([0.5])  # in full, and less at every share
    monkeypatch.setattr(Evaluator, "forgetting", lambda *_: forgetting(next(rises, 0.01)))
    run = config(tmp_path, evaluate=evaluate, train=ONE_CHECKPOINT)
    summary = train_run(run)
    assert summary.adapter is not None
    assert summary.evaluation["scale"] is None


def test_what_was_measured_before_is_not_measured_again(adapter):
    told = Told(adapter, lambda s: 0.1 * s, lambda _: 0.9)
    told.found(full=forgetting(0.1))
    assert 1.0 not in [share for share, _ in told.asked]


@pytest.mark.parametrize("after", range(6))
def test_a_cancel_leaves_it_as_strong_as_it_was(adapter, after):
    told = Told(adapter, lambda s: 0.1 * s, lambda _: 0.9)
    left = iter([True] * after)

    def unless_cancelled(measure):
        def measured(*probes):
            if not next(left, False):
                raise Cancelled
            return measure(*probes)

        return measured

    asking = {"score": unless_cancelled(told.score), "forget": unless_cancelled(told.forget)}
    with pytest.raises(Cancelled):
        find_scale(adapter, dict, **asking, allowed=0.03, full=None)
    assert told.share == 1.0


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("variant", ["prompt", "p-tuning", "dora"])
def test_a_method_that_has_no_strength_is_left_alone(variant, tmp_path):
    adapter = attach(engine_for("llama", variant, tmp_path), variant, tmp_path)
    asking = {"score": lambda: 1.0, "forget": lambda _: forgetting(1.0)}
    assert find_scale(adapter, dict, **asking, allowed=0.0, full=None) is None


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("share", [0.8, 1.0])
def test_it_is_told_in_words(language, share):
    told = AdapterScale(share, 0.8, "wikitext", "perplexity", 0.15, 0.042, 0.97, 0.96)
    figures = ("80", "97", "96", "15", "4")
    for figure in figures:
        assert re.search(f"\\b{figure} ?%", told.text(language=language))
    told = AdapterScale(share, 0.8, "piqa", "accuracy", -0.08, -0.01, 0.97, 0.96)
    assert "8" in told.text(language=language)
    assert "0.5" in AdapterScale(1.0, None, "piqa", "accuracy", -0.08).text()


def test_a_run_that_forgets_ends_at_a_share_and_says_so(tmp_path, monkeypatch):
    # probes leave out some of the texts that retain the base, so that runs with them differ
    plain = {**ONE_CHECKPOINT, "save_steps": 2, "retention": "none"}
    whole = train_run(config(tmp_path / "whole", train=plain))
    evaluate = {**config(tmp_path).evaluate.model_dump(mode="json"), "forgetting": "default"}

    def forgotten(judge, loaded, adapter, probes=None):
        sizes = [
            float(term.b.detach().norm())
            for linear in loaded.engine.linears.values()
            if (term := linear.terms.get(adapter.adapter))
        ]
        whole_sizes.append(sum(sizes))
        return forgetting(0.1 * sum(sizes) / whole_sizes[0])

    whole_sizes = []
    monkeypatch.setattr(Evaluator, "forgetting", forgotten)
    run = config(tmp_path / "weak", evaluate=evaluate, train=plain)
    summary = train_run(run)
    found = summary.evaluation["scale"]
    assert found["share"] == 0.5
    assert found["text"] in summary.notices
    one, other = (
        load_file(f"{each.adapter}/adapter_model.safetensors") for each in (whole, summary)
    )
    for name, tensor in one.items():
        share = 0.5 if "lora_B" in name else 1.0
        torch.testing.assert_close(other[name], share * tensor)
    kept = json.loads((tmp_path / "weak" / "run" / "evaluation.json").read_text())
    assert kept["scale"] == found
    assert summary.eval_loss > whole.eval_loss  # that of the weaker one


@pytest.mark.slow
def test_a_full_run_that_forgets_ends_between_its_base_and_what_it_learned(tmp_path, monkeypatch):
    method = {"kind": "full"}
    plain = {**ONE_CHECKPOINT, "retention": "none"}
    whole = train_run(config(tmp_path / "whole", method=method, train=plain))
    evaluate = {**config(tmp_path).evaluate.model_dump(mode="json"), "forgetting": "default"}
    rises = iter([0.5, 0.5])  # in full, and at the first share; less at the others
    monkeypatch.setattr(Evaluator, "forgetting", lambda *_: forgetting(next(rises, 0.01)))
    run = config(tmp_path / "weak", method=method, evaluate=evaluate, train=plain)
    summary = train_run(run)
    share = summary.evaluation["scale"]["share"]
    assert 0.5 < share < SHARES[len(SHARES) // 2]
    began, ended, between = (
        load_file(f"{folder}/model.safetensors")
        for folder in (run.model, whole.adapter, summary.adapter)
    )
    for name, tensor in between.items():
        wanted = torch.lerp(began[name].float(), ended[name].float(), share)
        torch.testing.assert_close(tensor.float(), wanted, rtol=1e-3, atol=1e-5)


def test_full_strength_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(Evaluator, "forgetting", lambda *_: forgetting(0.5))
    settings = {"probes": ["copa"], "scale": "none"}
    evaluate = {**config(tmp_path).evaluate.model_dump(mode="json"), "forgetting": settings}
    summary = train_run(config(tmp_path, evaluate=evaluate))
    assert summary.evaluation["scale"] is None
