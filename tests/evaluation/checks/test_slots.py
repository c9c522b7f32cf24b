"""slots: pairs of slot and value, in three notations."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.checks import SlotsSettings
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import Case
from tunesmith.evaluation.checks.slots import slots_check

# Rows of E2E NLG's devset.csv (Novikova et al. 2017), CC BY-SA 4.0.
ASKED = "name[Alimentum], area[city centre], familyFriendly[no]"
PHRASES = {
    "familyFriendly": {
        "yes": ("family-friendly", "family friendly"),
        "no": ("not a family-friendly", "not family friendly", "not family-friendly"),
    }
}


def score(answer, reference=None, question=None, **settings):
    return slots_check(SlotsSettings(**settings)).score(answer, reference, question)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("name[Zizzi], food[Thai]", 1),
        ("food[thai],  name[ZIZZI ]", 1),
        ("name[Zizzi]", 2 / 3),
        ("name[Zizzi], food[Thai], area[riverside]", 4 / 5),
        ("name[Zizzi], name[Zizzi], food[Thai]", 4 / 5),
        ("name[Thai], food[Zizzi]", 0),
        ("Zizzi serves Thai food", 0),
    ],
)
def test_pairs_in_brackets_give_f1(answer, expected):
    assert score(answer, "name[Zizzi], food[Thai]") == pytest.approx(expected)


def test_json_is_flattened_and_its_order_is_nothing():
    own = {"slots": {"city": "Seoul", "guests": 2, "extras": ["wifi", "view"], "pets": None}}
    same = {"slots": {"extras": ["view", "wifi"], "guests": 2.0, "city": "seoul"}}
    assert score(json.dumps(same), json.dumps(own)) == 1
    assert score(json.dumps(same["slots"]), json.dumps(own)) == 0
    assert score('{"x": 1, "slots": {"city": "Seoul"}}', json.dumps(own), field="slots") == (
        pytest.approx(2 / 5)
    )


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("1234567.9", "1234567.1", 0),
        ("37.566535", "37.566545", 0),
        ("1000000.0", "1000000", 1),
        ("1e6", "1000000", 1),
        ("-0.0", "0", 1),
        ("0.50", "0.5", 1),
        ("1e400", "1e400", 1),
    ],
)
def test_numbers_are_compared_by_all_their_digits(answer, reference, same):
    assert score(f'{{"a": {answer}}}', f'{{"a": {reference}}}') == same


def test_no_slots_wanted_and_none_given_is_right():
    assert score('{"slots": {}}', '{"slots": {}}', field="slots") == 1
    assert score('{"slots": {"a": 1}}', '{"slots": {}}', field="slots") == 0


def test_slots_that_are_left_out_count_on_neither_side():
    assert score("a[1], b[9], c[4]", "a[1], b[2]", leave_out=("b", "c")) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Alimentum is not a family-friendly place in the City Centre.", 1),
        ("Alimentum is in the city centre.", 4 / 5),
        ("Alimentum is a family-friendly place in the city centre.", 4 / 6),
        ("There is a place.", 0),
        ("Alimentums in the citycity centre", 0),
    ],
)
def test_a_text_is_searched_for_values_and_phrases(answer, expected):
    found = score(answer, "any", ASKED, source="question", phrases=PHRASES)
    assert found == pytest.approx(expected)


def test_particles_may_follow_a_word_of_another_script():
    assert score("서울에서 만나요", "any", "city[서울]", source="question") == 1


def test_a_phrase_of_two_values_means_the_wanted_one():
    phrases = {"price": {"cheap": ("cheap",), "under 20": ("cheap", "under 20")}}
    assert score("It is cheap.", "x", "price[under 20]", source="question", phrases=phrases) == 1


def test_figures_count_every_pair_the_same():
    cases = [Case("a[1], b[2]", "a[1], b[2], a[3]"), Case("a[1]", "a[2]")]
    figures = slots_check(SlotsSettings()).aggregate(cases)
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 4)
    assert figures["f1"] == pytest.approx(4 / 7)
    assert figures["by_slot"]["b"] == {"precision": 1, "recall": 1, "f1": 1}
    assert figures["by_slot"]["a"]["recall"] == pytest.approx(1 / 3)


def test_rows_that_cannot_be_compared_are_faults():
    check = slots_check(SlotsSettings())
    assert "no slots as JSON or as name[value]" in check.reference_fault("plain text")
    assert "no reference" in check.reference_fault(None)
    asked = slots_check(SlotsSettings(source="question"))
    assert "no question" in asked.reference_fault("x", None)
    fault = asked.reference_fault("x", ASKED)
    assert "familyFriendly[no]" in fault
    assert "`leave_out`" in fault
    assert (
        slots_check(SlotsSettings(source="question", phrases=PHRASES)).reference_fault("x", ASKED)
        is None
    )


def test_phrases_need_a_text():
    with pytest.raises(ConfigError, match="where source is question"):
        validate(SlotsSettings, {"phrases": {"a": {"b": ["c"]}}}, source="a.yaml")


SLOTS = st.dictionaries(
    st.sampled_from(["name", "food", "near place"]),
    st.text("abc xyz", min_size=1).map(str.strip).filter(bool),
    min_size=1,
)


@given(SLOTS, SLOTS)
def test_f1_is_the_same_both_ways_and_one_only_for_the_same(a, b):
    def written(slots):
        return ", ".join(f"{slot}[{value}]" for slot, value in slots.items())

    forth, back = score(written(a), written(b)), score(written(b), written(a))
    assert forth == back
    assert 0 <= forth <= 1
    squeezed = [{k: " ".join(v.split()) for k, v in slots.items()} for slots in (a, b)]
    assert (forth == 1) == (squeezed[0] == squeezed[1])
    assert score(json.dumps(a), json.dumps(b)) == forth
