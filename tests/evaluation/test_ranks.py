"""Answers, likelihoods and losses of rows are the same on any number of ranks."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from tests.ranks import on_ranks
from tests.training.tiny import dataset, tiny_job
from tunesmith.core.rank_help import SharedState, helpers, led
from tunesmith.evaluation import answering
from tunesmith.evaluation.answering import CachedAnswer, answer_arms, open_cache, unanswered
from tunesmith.evaluation.arms import Arm
from tunesmith.evaluation.likelihoods import ScoredSpan, log_likelihoods, losses_of_rows
from tunesmith.evaluation.score_cache import open_scores
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.training.held_out import held_out_loss

STOP = frozenset({1})


@pytest.fixture
def job(tmp_path):
    """A tiny base with an adapter that changes what it answers."""
    made = tiny_job(tmp_path / "run", "lora")
    with torch.no_grad():
        for number, parameter in enumerate(made.adapter.parameters.values()):
            torch.manual_seed(number)
            parameter.add_(0.3 * torch.randn_like(parameter))
    made.adapter.refresh()
    return made


def prompts(count, adapter, *, draws=False):
    """Prompts of different lengths."""
    rng = torch.Generator().manual_seed(count)
    made = []
    for number in range(count):
        length = int(torch.randint(2, 12, (1,), generator=rng))
        ids = torch.randint(2, 60, (length,), generator=rng).tolist()
        made.append(Prompt(tuple(ids), adapter, draw=number if draws else None))
    return tuple(made)


def measured(job, count, *, cached=None):
    """All that an evaluation asks of a model, as led work: twice, so that the second is known."""
    engine, name = job.engine, job.adapter.name
    sampling = Sampling(max_new_tokens=12)
    arms = {"base": Arm("", prompts(count, None)), "tuned": Arm("", prompts(count, name))}
    caches = {arm: open_cache(f"{arm} {cached}", sampling, STOP) for arm in arms}
    answers = answer_arms(engine, arms, caches, sampling=sampling, stop_ids=STOP)
    assert not unanswered(arms, caches)
    spans = [ScoredSpan(p.ids, 1, group) for group, p in enumerate(prompts(count, None))]
    logs = log_likelihoods(engine, spans, [None, name])
    kept = open_scores(f"{cached}")
    assert kept.path is not None
    loaded = SimpleNamespace(engine=engine)
    losses = losses_of_rows(loaded, dataset(count, seed=3), adapter=name, kept=kept)
    again = losses_of_rows(loaded, dataset(count, seed=3), adapter=name, kept=kept)
    assert again == losses
    held = held_out_loss(job, job.held, tokens=60)
    return answers, [[each.tolist() for each in arm] for arm in logs], losses, held


def on(size, job, work):
    """What rank 0 finds on so many ranks, and how often others had to help."""

    def run():
        engine, adapter = job.engine, job.adapter
        tensors = tuple(adapter.parameters.values())
        state = SharedState((engine, job), tensors, adapter.refresh)
        return led(lambda: (work(), helpers()), state)

    first, *_ = on_ranks(size, run)
    if isinstance(first, Exception):
        raise first
    found, others = first
    assert others == size
    return found


@pytest.fixture(autouse=True)
def small_units(request, monkeypatch, home):
    monkeypatch.setattr(answering, "UNIT_PROMPTS", 8)


def test_few_rows_are_the_same_on_one_and_two_ranks(job):
    alone, two = (on(size, job, partial(measured, job, 24, cached=size)) for size in (1, 2))
    assert two == alone
    answers = two[0]
    assert answers["tuned"] != answers["base"]
    assert all(isinstance(each, CachedAnswer) for each in answers["tuned"])


def test_drawn_answers_are_the_same_whoever_draws_them(job):
    sampling = Sampling(max_new_tokens=8, temperature=1.0)

    def drawn(*, draws):
        asked = prompts(24, None, draws=draws)
        phase = answering.UNSEEN
        made = answering._generated(job.engine, asked, STOP, sampling, seed=5, phase=phase)
        return sorted((one.row, one.ids, one.ended) for one in made)

    alone = drawn(draws=False)
    assert on(2, job, lambda: drawn(draws=False)) == alone
    assert on(2, job, lambda: drawn(draws=True)) == alone
    assert len({ids for _, ids, _ in alone}) > 8


def test_an_adapter_that_rank_0_changes_answers_as_it_is_there(job):
    def halved():
        with torch.no_grad():
            for parameter in job.adapter.parameters.values():
                parameter.mul_(0.5)
        job.adapter.refresh()
        spans = [ScoredSpan(p.ids, 1, i) for i, p in enumerate(prompts(600, None))]
        (logs,) = log_likelihoods(job.engine, spans, [job.adapter.name])
        return [each.tolist() for each in logs]

    before = {name: p.detach().clone() for name, p in job.adapter.parameters.items()}
    two = on(2, job, halved)
    assert all(torch.equal(before[n], p) for n, p in job.adapter.parameters.items())  # forked
    assert two == on(1, job, halved)


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (7, [7]), (16, [8, 8]), (70, [9, 9, 9, 9, 9, 9, 8, 8])]
)
def test_units_depend_on_the_prompts_alone_and_are_alike(count, sizes):
    asked = prompts(count, None)
    units = answering._units(asked)
    assert sorted(row for unit in units for row in unit) == list(range(count))
    assert sorted(map(len, units), reverse=True) == sizes


@pytest.mark.slow
def test_five_hundred_rows_are_the_same_on_one_two_and_four_ranks(job, monkeypatch):
    monkeypatch.undo()
    alone, two, four = (
        on(size, job, partial(measured, job, 500, cached=f"many {size}")) for size in (1, 2, 4)
    )
    assert two == four == alone
