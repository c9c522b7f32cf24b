"""The page of a clash: verdict, a map and a table for each measure, scores, nothing loaded."""

import math

import pytest

from tests.report.examples import clash
from tests.report.test_run_page import Page
from tunesmith.core.phrases import Phrases, languages
from tunesmith.report.conflicts_page import Grid, conflicts_page
from tunesmith.report.page import PHRASES


@pytest.mark.parametrize("language", languages(PHRASES))
def test_every_part_is_there_in_every_language(language: str) -> None:
    page = Page(conflicts_page(clash(), language=language))
    maps = {"title-map-0-cosine", "title-map-0-sign-conflict", "title-scores-0"}
    assert {*maps, "section-pair-0", "section-left-out", "section-repeat"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("data:") for address in page.loaded)
    for part in ("Layers 2-3 pull", "91 %", "+31.0", "12 %", "no <checks>", "--adapter runs/tone"):
        assert part in page.text
    assert "nan" not in page.text


@pytest.mark.parametrize("answer", ["clash", "fits", "cannot-tell"])
def test_the_verdict_has_a_headline(answer: str) -> None:
    found = clash()
    verdict = {**found["verdict"], "answer": answer}  # type: ignore[dict-item]
    says = Phrases(PHRASES).phrase(f"conflicts.answer.{answer}")
    assert f'<p class="answer">{says}</p>' in conflicts_page({**found, "verdict": verdict})


def test_every_value_that_is_drawn_stands_in_a_table() -> None:
    text = Page(conflicts_page(clash())).text
    for i in range(4):
        assert f"{0.3 - 0.2 * i:+.3f}".replace("-", "\N{MINUS SIGN}") in text
        assert f"{40 + 10 * i} %" in text


def test_weights_alone_make_a_page_without_scores() -> None:
    found = {**clash(), "scores": [], "left_out": {}}
    page = Page(conflicts_page(found))
    assert "section-scores" not in page.ids
    assert "section-left-out" not in page.ids


def test_a_pair_that_changes_nothing_has_no_map() -> None:
    document = clash()
    (pair,) = document["pairs"]  # type: ignore[misc]
    nothing = {key: math.nan for key, value in pair.items() if isinstance(value, float)}
    layers = [{**each, "cosine": None, "sign_conflict": None} for each in pair["layers"]]
    found = {**document, "pairs": [{**pair, **nothing, "layers": layers}]}
    page = Page(conflicts_page(found))
    assert "section-pair-0" not in page.ids
    assert "nan" not in page.text


def test_a_cell_is_bad_on_the_side_that_its_measure_names() -> None:
    cosine = Grid({("q", 0): -0.2, ("q", 2): 0.1, ("v", 0): 0.0}, neutral=0.0, bad=-1)
    assert [cosine.is_bad(value) for value in cosine.values.values()] == [True, False, False]
    assert (cosine.kinds, cosine.depths, cosine.limit) == (["q", "v"], [0, 2], 0.2)
    signs = Grid({("q", 0): 0.6, ("q", 1): 0.4}, neutral=0.5, bad=1)
    assert [signs.is_bad(value) for value in signs.values.values()] == [True, False]
