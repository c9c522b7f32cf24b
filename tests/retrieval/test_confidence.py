import pytest

from tests.retrieval.test_retrieve import hits
from tunesmith.retrieval.confidence import confidence, coverage


@pytest.mark.parametrize(
    ("question", "text", "share"),
    [
        ("Who pays the train tickets?", "Pay: train ticket", 10 / 14),
        ("Who pays the train tickets?", "Dogs may come", 0),
        ("What is the capital?", "the capital of it", 1),
        ("고양이는 어디 있나요?", "고양이가 방에 있나요", 8 / 10),
        ("What is it?", "anything", None),
    ],
)
def test_coverage_is_the_share_of_the_questions_own_words(question, text, share):
    assert coverage(question, [text]) == (None if share is None else pytest.approx(share))


def test_the_best_text_counts_and_more_of_them_never_lower_it():
    texts = ["train", "train tickets", "dogs"]
    shares = [coverage("train tickets", texts[: n + 1]) for n in range(3)]
    assert shares == [0.5, 1.0, 1.0]


def test_confidence_needs_a_cosine():
    found = hits("The company pays.")
    assert confidence("Who pays?", found) is None
    assert confidence("Who pays?", []) is None
