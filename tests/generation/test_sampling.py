"""What tokens are drawn from, and draws on an accelerator, where one number a row decides."""

import pytest
import torch
from transformers import generation as theirs

from tunesmith.generation.sampling import (
    UNITS,
    Penalties,
    Sampling,
    choose,
    draw_each,
    generator_of,
)

SCORES = torch.tensor([[0.0, 2.0, 1.0, -torch.inf, 3.0], [5.0, 0.0, 0.0, 0.0, -1.0]])


def shares(sampling, *, points=4096):
    """How often each token of each row is drawn over evenly spaced numbers."""
    grid = (torch.arange(points) * UNITS) // points
    rows = [
        draw_each(row.expand(points, -1), sampling, grid).bincount(minlength=5) for row in SCORES
    ]
    return torch.stack(rows) / points


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature):
    expected = torch.softmax(SCORES / temperature, -1)
    torch.testing.assert_close(shares(Sampling(temperature)), expected, rtol=0, atol=1e-3)


def test_a_nucleus_is_the_smallest_set_that_reaches_its_share():
    found = shares(Sampling(1.0, top_p=0.8))
    p = torch.softmax(SCORES, -1)
    expected = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]) * p
    expected /= expected.sum(-1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_a_row_does_not_depend_on_its_neighbours():
    drawn = torch.tensor([UNITS // 3, UNITS - 1])
    sampling = Sampling(1.0, top_p=0.9)
    together = draw_each(SCORES, sampling, drawn)
    alone = [draw_each(SCORES[i : i + 1], sampling, drawn[i : i + 1]) for i in range(2)]
    assert torch.equal(together, torch.cat(alone))


def test_the_first_and_the_last_number_draw_tokens_that_can_be_drawn():
    for drawn in (0, UNITS - 1):
        tokens = draw_each(SCORES, Sampling(1.0), torch.tensor([drawn, drawn]))
        assert torch.isfinite(SCORES.gather(1, tokens[:, None])).all()


CUTS = [
    {"top_k": 2},
    {"top_k": 99},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 3, "min_p": 0.1, "top_p": 0.8},
    {"top_k": 3, "top_p": 0.9},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_what_can_be_drawn_is_what_transformers_draws_from(cut, temperature):
    """Its order, which is vLLM's: temperature, min_p, top_k, top_p."""
    scores = SCORES[:1] / temperature
    if "min_p" in cut:
        scores = theirs.MinPLogitsWarper(cut["min_p"])(None, scores)
    if "top_k" in cut:
        scores = theirs.TopKLogitsWarper(cut["top_k"])(None, scores)
    if "top_p" in cut:
        scores = theirs.TopPLogitsWarper(cut["top_p"])(None, scores)
    expected = torch.softmax(scores, -1)[0]
    sampling, generator = Sampling(temperature, **cut), generator_of(0, 0)
    torch.testing.assert_close(shares(sampling)[0], expected, rtol=0, atol=1e-3)
    drawn = {choose(SCORES[0], sampling, generator) for _ in range(300)}
    assert drawn == set(expected.nonzero()[:, 0].tolist())


def test_penalties_are_transformers_and_openais():
    scores = SCORES[1].masked_fill(SCORES[1] == -1, -2.0)
    prompt, made = [4], [0, 1, 0]
    rule = theirs.RepetitionPenaltyLogitsProcessor(1.5)
    expected = rule(torch.tensor([[*prompt, *made]]), scores[None])[0]
    assert torch.equal(Penalties(repetition=1.5).apply(scores, prompt, made), expected)
    # OpenAI: mu[j] - c[j] * frequency - (c[j] > 0) * presence, counted in the answer
    counts = torch.tensor([2.0, 1, 0, 0, 0])
    found = Penalties(presence=0.5, frequency=0.25).apply(scores, prompt, made)
    torch.testing.assert_close(found, scores - 0.25 * counts - 0.5 * (counts > 0))
    assert torch.equal(Penalties(presence=1, frequency=1).apply(scores, prompt, []), scores)
    biased = Penalties(bias={2: 100.0, 0: -100.0}).apply(scores, [], [])
    assert biased.tolist() == [-95.0, 0.0, 100.0, 0.0, -2.0]
    bad = scores.index_fill(0, torch.tensor([2]), -torch.inf)
    assert Penalties(repetition=2.0).apply(bad, [2], [2])[2] == -torch.inf


@pytest.mark.parametrize("wrong", [{"top_k": -1}, {"min_p": 1.1}, {"min_p": -0.1}])
def test_a_cut_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="top_k"):
        Sampling(1.0, **wrong)
