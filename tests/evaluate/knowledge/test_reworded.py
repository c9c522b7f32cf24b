"""Other wordings of questions for facts: what is known stays in, and the order is another."""

import pytest

from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluate.knowledge.reworded import reworded

TURNED = [
    ("What is the capital of Zorb?", "Think of Zorb. Tell me the capital of it."),
    ("Who was the founder of Old Lebeath?", "Think of Old Lebeath. Tell me the founder of it."),
    ("When was the bridge of Pojen built?", "The bridge of Pojen built: when was that?"),
    ("Where is Mount Zeap?", "Mount Zeap: where is that?"),
    (
        "When did Zorb join the league?",
        "About this I only want to know when: Zorb join the league.",
    ),
    ("who wrote the book Plim", "Do you know who wrote the book Plim? Tell me."),
    ("How many metres high is Mount Zeap?", "Tell me how many metres high is Mount Zeap."),
    ("조르브의 수도는 어디인가요?", "수도 말인데, 조르브의 경우에는 어디인지 알려 주세요."),
    ("플림을 만든 사람은 누구입니까?", "누구인지 궁금해요. 플림을 만든 사람 말이에요."),
]


@pytest.mark.parametrize(("question", "wanted"), TURNED)
def test_rules_turn_a_question_round(question, wanted):
    found = reworded(question)
    assert found.text == wanted
    assert found.turned


@pytest.mark.parametrize(
    "question",
    ["Zorb", "Capital of Zorb:", "Some text.\nWhat is the capital of Zorb?", "수도 이름을 대라"],
)
def test_what_no_rule_fits_stands_in_a_frame(question):
    found = reworded(question)
    assert not found.turned
    assert question in found.text


@pytest.mark.parametrize("question", [q for q, _ in TURNED] + ["Zorb", "수도 이름을 대라"])
def test_it_is_another_text_and_names_stay_in(question):
    found = reworded(question).text
    assert bare(fold(found)) != bare(fold(question))
    for name in ("Zorb", "Lebeath", "Pojen", "Zeap", "Plim", "조르브", "플림"):
        assert (name in found) == (name in question)
