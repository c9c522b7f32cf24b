"""Draws on an accelerator: one number a row decides, by the distribution of the draws on a CPU."""

import pytest
import torch

from tunesmith.generation.sampling import UNITS, Sampling, draw_each

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
