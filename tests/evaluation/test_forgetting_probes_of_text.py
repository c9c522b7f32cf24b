"""Perplexities by token, word and byte, and an interval of their ratio that holds what it says."""

import math

import numpy as np
import pytest

from tests.models.tiny import tiny_tokenizer
from tunesmith.evaluation import forgetting_probes
from tunesmith.evaluation.forgetting_probes import PlainText
from tunesmith.evaluation.likelihoods import Reader

TEXTS = ("hello  world", "é a")  # 2 + 2 words; 12 + 4 bytes
PROBE = PlainText("t", TEXTS)


def test_perplexities_are_lm_evals():
    logs = [np.array([-1.0, -2.0, -3.0]), np.array([-4.0])]
    found = PROBE.perplexities(logs)
    assert found["perplexity"] == pytest.approx(math.exp(10 / 4))
    assert found["word_perplexity"] == pytest.approx(math.exp(10 / 4))
    assert found["byte_perplexity"] == pytest.approx(math.exp(10 / 16))
    assert found["bits_per_byte"] == pytest.approx(10 / 16 / math.log(2))


def test_white_space_is_counted_as_lm_eval_does():
    assert PlainText("t", (" a b ",)).perplexities([np.array([-4.0])])["word_perplexity"] == (
        pytest.approx(math.exp(4 / 4))  # two empty words at the ends
    )


def test_its_spans_are_those_of_its_texts_in_order():
    reader = Reader(tiny_tokenizer(), 5)
    assert PROBE.spans(reader) == tuple(s for spans in reader.texts(TEXTS) for s in spans)


def arms(rng, texts=60, rise=0.05, spread=0.2):
    """Log-likelihoods of texts of unlike lengths; tuned loses ``rise`` a token in the mean."""
    lengths = rng.integers(20, 200, size=texts)
    base = [-rng.exponential(3.0, size=n) for n in lengths]
    own = rng.normal(rise, spread, size=texts)
    tuned = [b - o - rng.normal(0, 0.3, size=len(b)) for b, o in zip(base, own, strict=True)]
    return base, tuned


def measured(base, tuned):
    return PlainText("t", ("x " * 50,) * len(base)).measured(base, tuned, seed=0)


def test_the_difference_is_the_ratio_of_the_perplexities():
    base, tuned = arms(np.random.default_rng(0))
    found = measured(base, tuned)
    interval = found.difference(0.95)
    assert interval.mean == pytest.approx(found.tuned / found.base - 1)
    assert interval.low < interval.mean < interval.high
    assert interval.n == 60
    wider = found.difference(0.99)
    assert wider.low < interval.low < interval.high < wider.high


@pytest.mark.usefixtures("few_resamples")
def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held, trials = 0, 200
    for trial in range(trials):
        found = measured(*arms(np.random.default_rng([1, trial]), texts=30)).difference(0.9)
        held += found.low <= math.expm1(0.05) <= found.high
    assert 0.84 <= held / trials <= 0.97


def test_few_texts_are_cut_into_blocks():
    base, tuned = arms(np.random.default_rng(2), texts=3)
    blocks = sum(-(-len(each) // forgetting_probes.BLOCK_TOKENS) for each in base)
    assert measured(base, tuned).difference(0.95).n == blocks


def test_less_than_two_blocks_have_no_interval():
    with pytest.raises(ValueError, match="one block of 40 tokens"):
        measured([np.zeros(40)], [np.zeros(40)])


def test_equal_arms_do_not_differ():
    base, _ = arms(np.random.default_rng(3))
    interval = measured(base, base).difference(0.95)
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_a_ruined_model_has_a_number_too():
    base, _ = arms(np.random.default_rng(4))
    found = measured(base, [each - 2000 for each in base])
    interval = found.difference(0.95)
    assert all(map(math.isfinite, (found.tuned, interval.low, interval.mean, interval.high)))
    assert interval.low > 1e6


def test_the_rows_that_are_needed_shrink_the_interval_enough():
    base, tuned = arms(np.random.default_rng(5), texts=40)
    found = measured(base, tuned)
    limit = found.difference(0.95).mean + 0.04
    rows = found.rows_needed(limit, 0.025)
    half = (found.difference(0.95).high - found.difference(0.95).low) / 2
    # power 0.8: 2.8 standard errors in place of 1.96
    assert rows == pytest.approx(40 * (half / 1.96 * 2.8 / 0.04) ** 2, rel=0.3)
