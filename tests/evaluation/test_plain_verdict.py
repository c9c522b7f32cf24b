"""What a verdict says to someone who reads no intervals: numbers of a hundred, and its reasons."""

import pytest

from tunesmith.evaluation.findings import words_in
from tunesmith.evaluation.plain_verdict import plain_text


def document(scores, *, n=50, reasons=("better",), probes=(), **verdict):
    return {
        "verdict": {"check": "polite", "reasons": list(reasons), "against": "base", **verdict},
        "arms": {
            arm: {"checks": {"polite": {"score": score, "n": n}}} for arm, score in scores.items()
        },
        "forgetting": [{"probe": probe, "outcome": outcome} for probe, outcome in probes],
    }


def test_a_clear_gain_is_said_in_numbers_of_a_hundred():
    found = document({"base": 0.1, "tuned": 0.8}, probes=[("wikitext", "kept")])
    assert plain_text(found, words_in("en")) == (
        "Of 100 answers about 80 pass now. Before training about 10 did. That is more than chance "
        "would bring. Its other abilities, such as general questions and plain text, lost no more "
        "than is allowed."
    )
    assert plain_text(found, words_in("ko")) == (
        "답변 100개 중 약 80개가 검사를 통과합니다. 학습 전에는 약 10개였습니다. "
        "우연으로 보기 어려운 차이입니다. 함께 재어 본 것(일반 문제나 일반 글 등)은 "
        "허용한 것보다 많이 잃지 않았습니다."
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            document({"base": 0.5, "tuned": 0.5}, n=6, reasons=["too-few-rows"], rows_needed=40),
            "질문을 6개만 물어서 우연일 수 있습니다. "
            "학습에 쓰지 않은 질문을 약 40개 물으면 분명해집니다.",
        ),
        (
            document({"base": 0.5, "tuned": 0.5}, n=6, reasons=["too-few-rows"]),
            "질문을 6개만 물어서 우연일 수 있습니다.",
        ),
        (
            document(
                {"base": 1.0, "tuned": 1.0},
                reasons=["too-few-rows"],
                difference={"mean": 0.0, "n": 23},
            ),
            "아직은 차이가 없습니다. 질문을 23개 물었습니다.",
        ),
        (document({"base": 0.5, "tuned": 0.4}, reasons=["not-better"]), "나아진 것이 아닙니다."),
        (document({"base": 0.25, "tuned": 0.456}), "100점 만점에 약 46점입니다."),
        (
            document({"base": 0.1, "prompted": 0.4, "tuned": 0.5}, against="prompted"),
            "지시문을 붙인 원본 모델은 약 40개입니다.",
        ),
        (
            document({"base": 0.1, "tuned": 0.5}, changed={"json": -1, "style": 1}),
            "다른 검사는 나빠졌습니다: `json`.",
        ),
        (
            document({"base": 0, "tuned": 1}, probes=[("piqa", "forgotten"), ("arc", "unclear")]),
            "다른 것은 나빠졌습니다: `piqa`. `arc`가 나빠졌는지는 분명하지 않습니다.",
        ),
        (document({"base": 0.1, "tuned": 0.5}), "다른 것이 나빠졌는지는 재지 않았습니다."),
    ],
)
def test_each_reason_has_its_sentence(found, said):
    assert said in plain_text(found, words_in("ko"))
    assert plain_text(found, words_in("en"))


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"slots": 0.133}, "Another check is low: `slots` 13 of 100."),
        (
            {"slots": 0.133, "words": 0.0, "json": 1.0},
            "Other checks are low: `slots` 13, `words` 0 of 100.",
        ),
        ({"json": 1.0}, ""),
    ],
)
def test_checks_that_do_not_decide_are_named_where_they_are_low(others, said):
    found = document({"base": 0.1, "tuned": 0.8})
    for name, score in others.items():
        found["arms"]["tuned"]["checks"][name] = {"score": score, "n": 50}
    text = plain_text(found, words_in("en"))
    assert said in text
    assert said or "low" not in text
    found["arms"]["tuned"]["checks"]["polite"]["score"] = 0.2  # all is low, as it says
    assert "is low" not in plain_text(found, words_in("en"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("language_fit", "답변을 직접 읽어 보세요."),
        ("leakage", "새 질문에 어떻게 답하는지는 알 수 없습니다."),
    ],
)
def test_what_lowers_the_worth_of_the_scores_is_said_last(code, said):
    caveats = [{"code": code, "text": "..."}] * 2
    found = document({"base": 0.1, "tuned": 0.8}) | {"caveats": caveats}
    assert plain_text(found, words_in("ko")).endswith(said)
    assert plain_text(found, words_in("ko")).count(said) == 1
    assert plain_text(found, words_in("en"))


def test_a_part_that_is_unclear_does_not_contradict_that_the_whole_is_kept():
    probes = [("copa", "unclear"), ("all questions", "kept")]
    kept = {"answer": "kept", "lost": [], "unclear": []}
    said = plain_text(
        document({"base": 0, "tuned": 1}, probes=probes, elsewhere=kept), words_in("en")
    )
    assert said.endswith("lost no more than is allowed.")
    assert "copa" not in said


@pytest.mark.parametrize(
    "found", [{}, {"verdict": {"answer": "cannot-tell"}}, document({"base": 0.5})]
)
def test_without_a_tuned_score_there_is_nothing_to_say(found):
    assert plain_text(found, words_in("ko")) == ""


@pytest.mark.parametrize(("share", "shown"), [(0.3, True), (0.45, False)])
def test_other_wordings_are_told_where_they_surely_fare_worse(share, shown):
    found = document({"base": 0.1, "tuned": 0.5})
    passes = {"score": share, "low": share - 0.1, "high": share + 0.1, "n": 40}
    found["arms"]["tuned"]["checks"]["polite"]["low"] = 0.42
    found["consistency"] = {"paraphrases": {"questions": 40, "arms": {"tuned": {"passes": passes}}}}
    said = plain_text(found, words_in("en"))
    assert ("about 30 pass in every wording (40 were asked)" in said) == shown
