"""Loops, copies of the question and one answer for all are found; what the data does is normal."""

import json
import random

import pytest

from tests.source import ROOT
from tunesmith.evaluation.degeneration import (
    KINDS,
    assess_degeneration,
    compact,
    copied_share,
    ends_in_loop,
    mark,
    one_for_all,
    repeated_share,
    repeats_itself,
    repeats_question,
)

KOREAN = "주문하신 상품은 내일 오후에 도착할 예정입니다. 배송이 늦어지면 문자로 알려 드릴게요."
CHINESE = "您的订单将于明天下午送达,如果配送延迟,我们会通过短信通知您。"
JAPANESE = "ご注文の商品は明日の午後に届く予定です。遅れる場合はメールでお知らせします。"
THAI = "สินค้าของคุณจะถูกจัดส่งในวันพรุ่งนี้ช่วงบ่าย หากล่าช้าเราจะแจ้งให้ทราบ"
ARABIC = "سيصل طلبك غدا بعد الظهر، وسنرسل لك رسالة إذا تأخر التوصيل."
ENGLISH = "Your order will arrive tomorrow afternoon; if it is late, we will send you a message."
TEXTS = (KOREAN, CHINESE, JAPANESE, THAI, ARABIC, ENGLISH)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_any_language_repeats_itself_only_once_it_is_repeated(text):
    assert not repeats_itself(compact(text))
    assert repeats_itself(compact(text + text))
    assert repeats_itself(compact(f"{text}\n{text}\n{text}"))


@pytest.mark.parametrize("turns", [2, 3, 5, 20])
def test_of_a_loop_all_turns_but_the_first_are_repeated(turns):
    found = repeated_share(compact(ENGLISH * turns))
    assert found == pytest.approx((turns - 1) / turns, abs=0.05)


@pytest.mark.parametrize(
    "text",
    [
        "네, 알려 드릴게요! 알려 드릴게요 😊 알려 드릴게요! 알려 드릴게요 😊",
        "요" * 40,
        f"{ENGLISH * 1} The answer is that " + "the same and " * 6,
        "좋은 생각이에요. " + "그럴 수 있어요. " * 5,
        "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "1. Add the salt.\n2. Add the salt.\n3. Add the salt.\n4. Add the salt.",
        "😊" * 20,
    ],
)
def test_loops_are_found(text):
    assert repeats_itself(compact(text))
    assert repeats_itself(compact(text + "\ufffd"))  # cut within a character


def test_a_tail_that_cycles_is_found_however_long_the_text_before_it():
    long = " ".join(f"word{i * i} and{i}" for i in range(200))
    assert not repeats_itself(compact(long))
    looping = compact(f"{long} and then again and then again and then again and then ag")
    assert repeated_share(looping) < 0.2
    assert ends_in_loop(looping)


NORMAL = [
    "positive",
    "네",
    "no no no",
    "ㅋㅋㅋ",
    "42",
    "",
    json.dumps({"intent": "PlayMusic", "slots": {"artist": "Nina Simone", "year": "1965"}}),
    json.dumps([{"name": n, "price": p} for n, p in (("tea", 3), ("coffee", 4), ("water", 2))]),
    "- milk\n- eggs\n- bread\n- butter\n- flour",
    "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n"
    "    return width * height\n",
    "She has 3 * 4 = 12 apples. She eats 2 of them, so 12 - 2 = 10 are left.\n#### 10",
    "3, 5, 8, 13, 21, 34, 55, 89, 144, 233",
    "| name | price |\n|---|---|\n| tea | 3 |\n| coffee | 4 |",
]


@pytest.mark.parametrize("text", NORMAL)
def test_labels_json_lists_code_and_numbers_do_not_repeat_themselves(text):
    assert not repeats_itself(compact(text))


def test_an_answer_that_is_the_question_copies_it():
    question = compact(ENGLISH)
    assert repeats_question(question, question)
    assert repeats_question(compact(f"{ENGLISH} Yes."), question)
    assert not repeats_question(compact("It will be there at noon."), question)


def test_a_sentence_taken_from_a_long_question_is_no_copy_of_it():
    sentences = [f"Sentence number {i} is about the {i * 7}th subject." for i in range(12)]
    asked, answer = compact(" ".join(sentences)), compact(sentences[3])
    assert copied_share(answer, asked) == 1
    assert not repeats_question(answer, asked)


def test_a_copy_that_was_cut_is_one_however_little_of_the_question_it_has():
    asked = compact(" ".join(f"{i * 7919}th{i}" for i in range(1, 90)))
    assert not repeats_question(asked[:200], asked)
    assert repeats_question(asked[:200], asked, cut=True)
    assert not repeats_question(compact("It is about other things than these."), asked, cut=True)


def test_a_short_word_of_the_question_is_no_copy():
    assert not repeats_question(compact("안녕"), compact("안녕"))


def test_case_and_white_space_make_no_difference():
    assert compact("Hello\n  World") == compact("hello world")


QUESTIONS = [f"What is the colour of thing number {i * 13}?" for i in range(60)]
OWN = [f"Thing {i * 13} is {['red', 'green', 'blue'][i % 3]}, as {i * i} shows." for i in range(60)]


def planted(kind, count, answers=OWN):
    """The answers with the first ``count`` degenerate."""
    bad = {
        "itself": [f"{a} {a} {a}" for a in answers],
        "question": QUESTIONS,
        "one_for_all": ["I am sorry, I do not know."] * len(answers),
    }[kind]
    return [*bad[:count], *answers[count:]]


def rates(answers, references=OWN, questions=QUESTIONS):
    return assess_degeneration({"tuned": answers}, references, questions)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_rises_with_what_is_planted(kind):
    found = [rates(planted(kind, count)) for count in range(0, 61, 10)]
    means = [each.arms["tuned"][kind].mean for each in found]
    assert means == sorted(means)
    assert (means[0], means[-1]) == (0, 1)
    assert [bool(each.found) for each in found] == [False] + [True] * 6
    assert all(set(each.found) <= {"any", kind} for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_makes_no_difference(kind):
    rows = list(zip(planted(kind, 20), OWN, QUESTIONS, strict=True))
    first = rates(*zip(*rows, strict=True))
    random.Random(0).shuffle(rows)
    assert rates(*zip(*rows, strict=True)).to_json() == first.to_json()


SETS = {
    "free text": OWN,
    "labels": ["positive", "negative"] * 30,
    "one label": ["positive"] * 60,
    "loops": [f"{a} " * 4 for a in OWN],
    "copies": QUESTIONS,
    "empty": [""] * 60,
}


@pytest.mark.parametrize("name", SETS)
def test_the_data_itself_is_never_found(name):
    found = rates(SETS[name], SETS[name])
    assert found.found == ()
    assert all(each.mean == 0 for each in found.differences["tuned"].values())


def test_labels_are_shared_and_one_of_them_for_all_is_not_normal():
    labels = ["positive", "negative"] * 50
    some_wrong = ["positive", "positive", *labels[2:]]
    assert not any(one_for_all([a.encode() for a in some_wrong], [a.encode() for a in labels]))
    collapsed = [b"positive"] * 100
    assert all(one_for_all(collapsed, [a.encode() for a in labels]))


def test_a_sentence_in_place_of_labels_is_one_for_all():
    labels = [b"positive", b"negative"] * 30
    answers = [b"I cannot tell."] * 20 + labels[20:]
    assert one_for_all(answers, labels) == [True] * 20 + [False] * 40


def test_what_loops_in_the_data_as_well_is_not_counted_against_the_answers():
    songs = [f"{a} " * 3 for a in OWN]
    assert not rates(songs, references=songs).found
    assert rates(planted("question", 30, songs), references=songs).found == ("question",)


def test_rows_are_marked_one_by_one():
    answers = [*planted("itself", 2)[:4], QUESTIONS[4], *OWN[5:]]
    found = mark(answers, OWN, QUESTIONS)
    assert found["itself"][:5] == [True, True, False, False, False]
    assert found["question"][:5] == [False, False, False, False, True]
    assert found["any"][:5] == [True, True, False, False, True]


def test_each_answer_has_its_kinds():
    answers = [f"{QUESTIONS[0]} {QUESTIONS[0]}", QUESTIONS[1], *OWN[2:]]
    assert rates(answers).rows["tuned"][:3] == [("itself", "question"), ("question",), ()]


def test_intervals_and_distinct_answers_are_reported():
    found = rates(planted("one_for_all", 30)).to_json()
    assert found["distinct"] == {"tuned": 31, "references": 60}
    rate = found["arms"]["tuned"]["one_for_all"]
    assert rate["score"] == 0.5
    assert 0.3 < rate["low"] < 0.5 < rate["high"] < 0.7
    assert found["differences"]["tuned"]["any"]["mean"] == 0.5
    assert found["found"] == ["any", "one_for_all"]


def test_one_row_is_assessed_and_found_guilty_of_nothing():
    assert rates(["a b c"], ["a"], ["q"]).found == ()


def test_no_answers_are_refused():
    with pytest.raises(ValueError, match="no answers"):
        rates([], [], [])


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_text_names_the_shares(language):
    both = {"base": planted("itself", 6), "tuned": planted("itself", 36)}
    text = assess_degeneration(both, OWN, QUESTIONS).text(language=language)
    assert "60" in text
    assert "10" in text
    none = rates(OWN).text(language=language)
    assert none
    assert none != text


@pytest.mark.parametrize(("language", "said"), [("en", "are one text"), ("ko", "똑같은 글")])
def test_one_text_for_a_few_rows_is_named_though_it_may_be_chance(language, said):
    found = rates(["account"] * 3, ["account", "card", "loan"], ["a?", "b?", "c?"])
    assert found.found == ()
    assert said in found.text(language=language)
    same = rates(["account"] * 3, ["account"] * 3, ["a?", "b?", "c?"])
    assert said not in same.text(language=language)


def test_without_a_tuned_arm_the_first_is_described():
    found = assess_degeneration({"base": planted("itself", 30)}, OWN, QUESTIONS)
    assert found.arm == "base"
    assert found.found == ("any", "itself")


def test_the_benchmark_found_planted_runs_and_left_clean_ones_alone():
    path = ROOT / "benchmarks" / "degeneration.jsonl"
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for half in ("choosing", "judging"):
        found = {
            is_planted: [
                bool(run["found"])
                for run in runs
                if (run["half"], run["planted"]) == (half, is_planted)
            ]
            for is_planted in (True, False)
        }
        assert [len(each) for each in found.values()] == [20, 20]
        assert sum(found[True]) >= 19
        assert not any(found[False])
