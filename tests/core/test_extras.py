"""A library of an extra is given where it is installed, and named with its extra where not."""

import json
import sys
from pathlib import Path

import pytest

from tunesmith.core.errors import RagError
from tunesmith.core.extras import require


def test_an_installed_library_is_given() -> None:
    assert require("json", "rag", RagError, what="Retrieval") is json


def test_a_missing_library_is_refused_with_what_needs_it_and_the_command_to_install_it() -> None:
    with pytest.raises(RagError) as refused:
        require("no_such_library.part", "rag", RagError, what="Retrieval")
    assert refused.value.message == (
        "Retrieval needs the package no_such_library, which is not installed."
    )
    assert refused.value.remedy == "Install it with: pip install 'tunesmith[rag]'"
    assert refused.value.code == "not_installed"


def test_a_library_that_lacks_another_names_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(RagError, match="needs the package no_such_library"):
            require("half_installed", "rag", RagError, what="Retrieval")
    finally:
        sys.modules.pop("half_installed", None)
