"""Bases that the tests here share."""

from tests.bases import (
    answers_of_this_test_only,
    ask,
    base_folder,
    plots_are_not_rendered,
    talking,
)

__all__ = ["answers_of_this_test_only", "ask", "base_folder", "plots_are_not_rendered", "talking"]
