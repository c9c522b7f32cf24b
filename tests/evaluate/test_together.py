"""Holm's procedure: as scipy-style adjusted p-values would decide, and never more false names."""

import itertools

import numpy as np

from tunesmith.evaluate.together import standing


def changes(p_values, sign=1):
    return {name: (lambda level, p=p: sign * (p <= 1 - level)) for name, p in p_values.items()}


def holm(p_values, alpha):
    """The textbook's way: sorted p-values against alpha / (m - i), stopping at the first miss."""
    found = set()
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > alpha / (len(p_values) - i):
            break
        found.add(name)
    return found


def test_the_changes_that_stand_are_the_textbooks():
    rng = np.random.default_rng(0)
    for trial, count in itertools.product(range(60), (1, 2, 3, 5)):
        p_values = {f"{i}": float(p) for i, p in enumerate(rng.beta(0.3, 3, size=count))}
        found = standing(changes(p_values), level=0.95)
        assert set(found) == holm(p_values, 0.05), (trial, p_values)


def test_one_change_is_read_at_the_plain_level_and_two_at_half_the_error():
    assert standing(changes({"a": 0.049}), level=0.95) == {"a": 1}
    assert standing(changes({"a": 0.049, "b": 0.9}), level=0.95) == {}
    assert standing(changes({"a": 0.024, "b": 0.9}), level=0.95) == {"a": 1}
    assert standing(changes({"b": 0.049, "a": 0.024}), level=0.95) == {"b": 1, "a": 1}


def test_signs_and_order_are_kept():
    both = changes({"rose": 0.001}) | changes({"fell": 0.0001}, sign=-1)
    assert list(standing(both, level=0.95).items()) == [("rose", 1), ("fell", -1)]
    assert standing({}, level=0.95) == {}
