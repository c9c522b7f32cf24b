"""Bases that the tests here share."""

from tests.bases import answers_of_this_test_only, ask, base_folder, talking

__all__ = ["answers_of_this_test_only", "ask", "base_folder", "talking"]
