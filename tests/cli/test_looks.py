"""`methods`, `model` and `doctor`: what is only looked up."""

from tunesmith.config.methods import method_notes
from tunesmith.methods.table import METHODS


def test_every_method_that_can_be_chosen_is_explained(tunesmith):
    assert set(method_notes()) == set(METHODS)
    page = tunesmith("methods").out
    for note in method_notes().values():
        assert note.name in page
    shown = tunesmith("methods", "--json").document["methods"]
    assert [row["kind"] for row in shown] == list(method_notes())


def test_an_empty_cache_says_what_can_be_fetched(home, tunesmith):
    ended = tunesmith("model", "list")
    assert "tunesmith model pull smollm2-135m-instruct" in ended.out
    (model,) = tunesmith("model", "list", "--json").document["models"]
    assert (model["name"], model["cached"]) == ("smollm2-135m-instruct", False)


def test_a_misspelt_model_is_named_with_the_nearest(home, tunesmith):
    ended = tunesmith("model", "pull", "smollm-135m-instruct", "--json")
    assert ended.status == 1
    assert "smollm2-135m-instruct" in ended.document["error"]["remedy"]


def test_the_doctor_says_the_same_to_people_and_scripts(home, tunesmith):
    document = tunesmith("doctor", "--json").document
    page = tunesmith("doctor").out
    assert document["dtype"]["reason"] in page
    assert document["versions"]["torch"] in page
    assert document["cache"]["folder"] == str(home)
    assert document["memory"]["total_bytes"] > document["memory"]["available_bytes"] > 0
