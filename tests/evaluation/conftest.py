"""Bases that the tests here share, and a quicker bootstrap."""

import pytest

from tests.bases import (
    answers_of_this_test_only,
    ask,
    base_folder,
    plots_are_not_rendered,
    talking,
)
from tunesmith.evaluation import intervals

__all__ = ["answers_of_this_test_only", "ask", "base_folder", "plots_are_not_rendered", "talking"]


@pytest.fixture
def few_resamples(monkeypatch):
    """For simulations, which need no third digit."""
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
