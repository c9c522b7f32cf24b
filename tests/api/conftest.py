"""What the tests here share."""

from tests.plots import plots_are_not_rendered

__all__ = ["plots_are_not_rendered"]
