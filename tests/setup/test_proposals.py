import json

import pytest

from tunesmith.config import load_run_config
from tunesmith.data.rows import Conversation, Message
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.setup.proposals import propose_checks


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


def test_json_answers_give_a_label_of_the_class_which_decides_and_a_json_check_with_their_keys():
    assert proposed(JSON_ANSWERS) == [
        {"kind": "label", "field": "intent"},
        {"kind": "json", "schema": {"type": "object", "required": ["intent", "text"]}},
    ]


def test_json_decides_where_no_key_names_a_class_or_holds_slots():
    assert kinds([json.dumps({"text": word}) for word in WORDS]) == ["json"]


def test_only_keys_that_all_answers_have_are_required():
    answers = [*JSON_ANSWERS, json.dumps({"intent": "a"})]
    assert proposed(answers)[-1]["schema"]["required"] == ["intent"]


def kinds(answers):
    return [check["kind"] for check in proposed(answers)]


def test_one_answer_that_is_no_object_is_enough_against_json():
    assert kinds([*JSON_ANSWERS, "[1]"]) == ["max_words"]


def test_few_distinct_answers_give_a_label():
    assert proposed(["refund", "cancel"] * 6) == [{"kind": "label"}]


def test_distinct_answers_give_no_label():
    assert proposed(WORDS) == []


def test_a_closing_formula_that_some_answers_lack_is_proposed_before_their_politeness():
    answers = [f"주문 {n}번을 바로 확인해 드릴게요 😊" for n in range(58)]
    found = proposed([*answers, "주문을 확인해 드릴게요", "잠시만 기다려 주세요."])
    assert found[0] == {"kind": "ends_with", "endings": ["바로 확인해 드릴게요 😊"]}


def test_a_common_ending_gives_ends_with_and_punctuation_is_set_aside():
    assert proposed(ENDINGS)[0] == {"kind": "ends_with", "endings": ["해요"]}


def test_the_end_of_the_sentence_before_is_no_part_of_an_ending():
    answers = [f"{word} 해{'요다'[i % 2]}. 들꽃마루 올림" for i, word in enumerate(WORDS)]
    assert proposed(answers)[0] == {"kind": "ends_with", "endings": ["들꽃마루 올림"]}


def test_an_ending_begins_with_a_whole_word():
    answers = [f"{word}ice Have a nice day!" for word in WORDS]
    assert proposed(answers)[0] == {"kind": "ends_with", "endings": ["Have a nice day!"]}


def test_two_endings_that_share_all_answers_are_both_proposed():
    answers = [f"{word} 해" + ("요", "다")[i % 2] for i, word in enumerate(WORDS)]
    check, *_ = proposed(answers)
    assert set(check["endings"]) == {"해요", "해다"}


def test_a_full_stop_is_no_common_ending():
    assert proposed([f"{word}." for word in WORDS]) == []


def test_few_rows_prove_no_ending():
    assert proposed(ENDINGS[:5]) == []


def test_no_answers_propose_nothing():
    assert propose_checks([]) == []


NUMBERS = [f"{word} has {i} + 1.\nSo {i + 1}.\n#### {i + 1}" for i, word in enumerate(WORDS)]
SLOTS = [f"name[{word}], food[{i}]" for i, word in enumerate(WORDS)]
KOREAN = [f"{i}번 기차는 {i * 3}분 뒤에 {'떠난다' if i % 2 else '온다'}" for i in range(13)]
BEGINNINGS = [f"Dear customer, {word} is gone {i}." for i, word in enumerate(WORDS)]
HOLDING = [f"{word} takes three days, {WORDS[-i]}" for i, word in enumerate(WORDS)]


def test_a_number_behind_its_marker_is_proposed_and_its_steps_after_it():
    number, steps, *_ = proposed(NUMBERS)
    assert number == {"kind": "number", "marker": "####"}
    assert steps == {"kind": "steps", "steps": "lines", "at_least": 1, "marker": "####"}
    assert kinds([str(i * 7) for i in range(40)]) == ["number"]
    assert "number" not in kinds([f"{word} 7" for word in WORDS])


def test_slots_in_brackets_and_in_a_key_are_proposed():
    assert proposed(SLOTS)[0] == {"kind": "slots"}
    answers = [json.dumps({"intent": "ab"[i % 2], "slots": {"w": w}}) for i, w in enumerate(WORDS)]
    assert proposed(answers)[1] == {"kind": "slots", "field": "slots"}
    assert kinds(answers) == ["label", "slots", "json"]


def test_slots_of_the_question_are_proposed_where_answers_mention_them():
    def asked(answers):
        return [
            Conversation(
                (Message("user", f"name[{word}], pets[yes]"), Message("assistant", answer)), "f", i
            )
            for i, (word, answer) in enumerate(zip(WORDS, answers, strict=True), start=1)
        ]

    mentions = propose_checks(asked([f"{word.upper()} is a nice place." for word in WORDS]))
    assert dict(mentions[0].check) == {
        "kind": "slots",
        "source": "question",
        "leave_out": ["pets"],
    }
    others = propose_checks(asked([f"Place {i} is nice" for i in range(13)]))
    assert "slots" not in [each.check["kind"] for each in others]


def test_a_language_other_than_english_is_proposed():
    assert {"kind": "language", "language": "ko"} in proposed(KOREAN)
    assert "language" not in kinds(BEGINNINGS)
    mixed = [*KOREAN, *(f"{word} is the word that we have chosen" for word in WORDS)]
    assert "language" not in kinds(mixed)


def test_a_common_beginning_or_part_is_proposed():
    assert proposed(BEGINNINGS)[0] == {"kind": "starts_with", "beginnings": ["Dear customer,"]}
    assert proposed(HOLDING)[0] == {"kind": "contains", "texts": ["takes three days,"]}
    marked = [f"{word} <think> {WORDS[-i]} so {i}" for i, word in enumerate(WORDS)]
    assert proposed(marked)[0] == {"kind": "contains", "texts": ["<think>"]}
    assert "contains" not in kinds([*HOLDING, "quite another"])


def test_the_length_that_nearly_all_keep_to_is_proposed():
    answers = [" ".join([word] * (i % 5 + 1)) for i, word in enumerate(WORDS * 10)]
    assert proposed([*answers, "long " * 90])[-1] == {"kind": "max_words", "words": 5}
    assert "max_words" not in kinds([f"{word} " * (101 + i) for i, word in enumerate(WORDS)])


@pytest.mark.parametrize(
    "answers",
    [
        JSON_ANSWERS,
        ENDINGS,
        ["refund", "cancel"] * 6,
        NUMBERS,
        SLOTS,
        KOREAN,
        BEGINNINGS,
        HOLDING,
    ],
)
def test_every_answer_of_the_data_passes_what_it_proposed(answers):
    values = {"data": {"train": "a"}, "evaluate": {"checks": proposed(answers)}}
    config = load_run_config(None, values)
    for check in build_checks(config.evaluate.checks):
        assert all(check.score(answer, answer) == 1.0 for answer in answers)


@pytest.mark.parametrize("value", ["2024-05-{:02d}", "10:{:02d}", "SKU-{}", "192.168.0.{}", "3:{}"])
def test_single_values_are_compared_as_they_are(value):
    assert proposed([value.format(i) for i in range(1, 31)]) == [{"kind": "exact"}]
