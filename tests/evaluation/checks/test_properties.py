"""What holds for every answer: a score within 0 and 1, and 1 for the reference itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.config.checks import (
    BleuSettings,
    ChrfSettings,
    ContainsSettings,
    EndsWithSettings,
    ExactSettings,
    LabelSettings,
    LanguageSettings,
    MaxSentencesSettings,
    MaxWordsSettings,
    NotContainsSettings,
    NumberSettings,
    RougeSettings,
    SlotsSettings,
    StartsWithSettings,
    StepsSettings,
)
from tunesmith.evaluation.checks.check import CannotScore
from tunesmith.evaluation.checks.table import build_checks

BY_REFERENCE = build_checks(
    [
        ExactSettings(),
        LabelSettings(),
        LabelSettings(name="folded", ignore_case=True),
        NumberSettings(),
        SlotsSettings(),
        *(RougeSettings(name=m, measure=m) for m in ("rouge1", "rouge2", "rougeL")),
        RougeSettings(name="characters", by="characters"),
        BleuSettings(),
        ChrfSettings(),
        ChrfSettings(name="chrf++", word_order=2),
    ]
)
BY_TEXT = build_checks(
    [
        StartsWithSettings(beginnings="a", ignore_case=True),
        EndsWithSettings(endings="a"),
        ContainsSettings(texts="a"),
        NotContainsSettings(texts="a"),
        MaxWordsSettings(words=3),
        MaxSentencesSettings(sentences=1),
        LanguageSettings(language="en"),
        StepsSettings(),
    ]
)
WORDS = st.lists(st.sampled_from(["a", "B.", "12", "3.5%", "x[1]", "####", "요", "\n"])).map(
    " ".join
)
TEXTS = st.one_of(st.text(max_size=40), WORDS)


@pytest.mark.parametrize("check", [*BY_REFERENCE, *BY_TEXT], ids=lambda check: check.name)
@settings(deadline=None, max_examples=60)
@given(answer=TEXTS, reference=TEXTS)
def test_a_score_lies_within_zero_and_one(check, answer, reference):
    try:
        score = check.score(answer, reference)
    except CannotScore:
        return
    assert 0.0 <= score <= 1.0
    assert check.score(answer, reference) == score


@pytest.mark.parametrize("check", BY_REFERENCE, ids=lambda check: check.name)
@settings(deadline=None, max_examples=120)
@given(text=TEXTS)
def test_the_reference_itself_scores_one_or_is_refused(check, text):
    if check.reference_fault(text) is None:
        assert check.score(text, text) == pytest.approx(1.0)
    assert check.reference_fault(None) is not None


@settings(deadline=None)
@given(text=st.text("ab cd.!", min_size=1, max_size=30))
def test_contains_and_not_contains_are_opposites_of_answers_that_say_something(text):
    contains, lacks = build_checks([ContainsSettings(texts="b"), NotContainsSettings(texts="b")])
    if text.strip():
        assert contains.score(text) + lacks.score(text) == 1
