"""The page of retrieval: findings in words, cells, effects and retrievers, nothing loaded."""

import pytest

from tests.report.examples import retrieved
from tests.report.test_run_page import Page
from tunesmith.core.phrases import languages
from tunesmith.report.page import PHRASES
from tunesmith.report.rag_page import rag_page


@pytest.mark.parametrize("language", languages(PHRASES))
def test_every_part_is_there_in_every_language(language: str) -> None:
    document = retrieved()
    page = Page(rag_page(document, name="<handbook>", language=language))
    assert document["effects"]["both"]["texts"][language] in page.text  # type: ignore[index]
    assert "<handbook>" in page.text
    no_break = "\N{NO-BREAK SPACE}"
    assert f"50{no_break}% (40{no_break}%{no_break}– 60{no_break}%)" in page.text
    for part in ("+66.1 (+50.0 – +80.0)", "0.944", "0.973", "hybrid"):
        assert part in page.text
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("data:") for address in page.loaded)


def test_without_an_adapter_its_cells_are_left_out() -> None:
    document = retrieved()
    cells = {**document["cells"], "tuned": None, "tuned_rag": None}  # type: ignore[dict-item]
    text = Page(rag_page({**document, "cells": cells, "effects": {}}, name="x")).text
    assert "tuned with retrieval" not in text
    assert "No two cells" in text
