"""Fixtures that several parts share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def default_model_folder() -> Path:
    """The default model, in the user's own cache; the first run fetches and converts it."""
    from tunesmith.models.pull import pull  # heavy, and most tests do without

    return pull("smollm2-135m-instruct")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TUNESMITH_HOME", str(folder))
    return folder
