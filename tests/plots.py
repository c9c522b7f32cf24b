"""Plots of pages that are made by the way: drawn, so that their values are read, not rendered."""

import pytest


@pytest.fixture(autouse=True)
def plots_are_not_rendered(request, monkeypatch):
    """Rendering takes more than half of the time of a tiny run; a test marked `rendered` does it.

    What plots look like is tested in `tests/report`, on the values that runs leave.
    """
    from matplotlib.figure import Figure

    if request.node.get_closest_marker("rendered") is None:
        monkeypatch.setattr(
            Figure, "savefig", lambda figure, file, **options: file.write("<svg></svg>")
        )
