import pytest

from tunesmith.core.phrases import languages
from tunesmith.evaluation.findings import PHRASES
from tunesmith.evaluation.retrieval_gain import EFFECTS, SourcedCase, effects, score_cell
from tunesmith.retrieval.prompt import REFUSALS, CitedSource

SOURCES = (
    CitedSource(1, "a", "Dogs may come on Fridays."),
    CitedSource(2, "b", "Thirty days of leave."),
)
ASKED = SourcedCase(("thirty days",), SOURCES, frozenset({2}))
UNANSWERABLE = SourcedCase((), SOURCES)
REFUSAL = REFUSALS["en"]


def test_each_score_is_of_the_answers_that_it_is_about():
    cell = score_cell(
        [ASKED, ASKED, ASKED, UNANSWERABLE, UNANSWERABLE],
        ["Thirty days [2]", "dogs [1]", REFUSAL, REFUSAL, "on Fridays [1]"],
    )
    assert cell.exact_match == (1, 0, 0)
    assert cell.f1 == (1, 0, 0)
    assert cell.false_refusal == (0, 0, 1)
    assert cell.refused_shown == (0, 0, 1)
    assert cell.refusal == (1, 0)
    assert cell.citation_precision == (1, 0, 0)  # nothing right can be cited where nothing answers
    assert cell.faithfulness == (1, 1, 1)


def test_a_refusal_where_retrieval_missed_is_not_one_of_what_was_shown():
    missed = SourcedCase(ASKED.answers, SOURCES)
    cell = score_cell([missed, ASKED], [REFUSAL, "thirty days [2]"])
    assert cell.false_refusal == (1, 0)
    assert cell.refused_shown == (0,)


def test_without_sources_there_is_nothing_to_cite():
    document = score_cell([SourcedCase(("x",))], ["x [1]"]).to_json(seed=0)
    assert (document["f1"], document["low"] > 0, document["high"]) == (1, True, 1)
    for name in ("refusal", "refused_shown", "citation_precision", "faithfulness"):
        assert document[name] is None
        assert name not in document["intervals"]


def cell(*answers):
    return score_cell([ASKED] * len(answers), answers)


GOOD, BAD = cell(*["thirty days [2]"] * 30), cell(*["no idea"] * 30)
CELLS = {"base": BAD, "tuned": BAD, "base_rag": BAD, "tuned_rag": GOOD}


def test_effects_are_differences_of_cells_on_the_same_questions():
    found = effects(CELLS, seed=0)
    assert found.keys() == EFFECTS.keys()
    means = {name: each["f1"]["mean"] for name, each in found.items()}
    more = {"both", "retrieval_over_tuning", "tuning_over_retrieval"}
    assert means == {name: float(name in more) for name in EFFECTS}
    assert found["both"]["text"].endswith("to 100 %. It helps.")
    assert found["tuning"]["text"].endswith("This may be chance.")
    assert found["both"]["f1"]["low"] > 0.7
    assert found["both"]["texts"].keys() == set(languages(PHRASES))


def test_without_an_adapter_only_retrieval_has_an_effect():
    assert effects({"base": GOOD, "base_rag": BAD}, seed=0).keys() == {"retrieval"}
    assert "It harms." in effects({"base": GOOD, "base_rag": BAD}, seed=0)["retrieval"]["text"]


@pytest.mark.parametrize("more", ["base_rag", "tuned"])
def test_effects_need_both_cells(more):
    assert len(effects({"base": BAD, more: GOOD}, seed=0)) == 1
