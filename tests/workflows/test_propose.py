import json

import pytest

from tunesmith.config import load_run_config
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluate.checks.table import build_checks
from tunesmith.workflows.propose import propose_checks


def rows(answers):
    return [
        Conversation((Message("user", f"q{i}"), Message("assistant", answer)), "f", i)
        for i, answer in enumerate(answers, start=1)
    ]


def proposed(answers):
    return [dict(each.check) for each in propose_checks(rows(answers))]


WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliet",
    "kilo",
    "lima",
    "mike",
]
JSON_ANSWERS = [json.dumps({"intent": "ab"[i % 2], "text": w}) for i, w in enumerate(WORDS)]
ENDINGS = [f"{word} 해" + ("요", "요!", "요~")[i % 3] for i, word in enumerate(WORDS)]


def test_json_answers_give_a_json_check_with_their_keys_and_a_label_of_the_class():
    assert proposed(JSON_ANSWERS) == [
        {"kind": "json", "schema": {"type": "object", "required": ["intent", "text"]}},
        {"kind": "label", "field": "intent"},
    ]


def test_only_keys_that_all_answers_have_are_required():
    answers = [*JSON_ANSWERS, json.dumps({"intent": "a"})]
    assert proposed(answers)[0]["schema"]["required"] == ["intent"]


def test_one_answer_that_is_no_object_is_enough_against_json():
    assert proposed([*JSON_ANSWERS, "[1]"]) == []


def test_few_distinct_answers_give_a_label():
    assert proposed(["refund", "cancel"] * 6) == [{"kind": "label"}]


def test_distinct_answers_give_no_label():
    assert proposed(WORDS) == []


def test_a_common_ending_gives_ends_with_and_punctuation_is_set_aside():
    assert proposed(ENDINGS) == [{"kind": "ends_with", "endings": ["해요"]}]


def test_an_ending_begins_with_a_whole_word():
    answers = [f"{word}ice Have a nice day!" for word in WORDS]
    assert proposed(answers) == [{"kind": "ends_with", "endings": ["Have a nice day!"]}]


def test_two_endings_that_share_all_answers_are_both_proposed():
    answers = [f"{word} 해" + ("요", "다")[i % 2] for i, word in enumerate(WORDS)]
    (check,) = proposed(answers)
    assert set(check["endings"]) == {"해요", "해다"}


def test_a_full_stop_is_no_common_ending():
    assert proposed([f"{word}." for word in WORDS]) == []


def test_few_rows_prove_no_ending():
    assert proposed(ENDINGS[:5]) == []


def test_no_answers_propose_nothing():
    assert propose_checks([]) == []


@pytest.mark.parametrize("answers", [JSON_ANSWERS, ENDINGS, ["refund", "cancel"] * 6])
def test_every_answer_of_the_data_passes_what_it_proposed(answers):
    values = {"data": {"train": "a"}, "evaluate": {"checks": proposed(answers)}}
    config = load_run_config(None, values)
    for check in build_checks(config.evaluate.checks):
        assert all(check.score(answer, answer) == 1.0 for answer in answers)
