import pytest

from tests.retrieval.test_retrieve import passage
from tunesmith.conversation.written_questions import (
    FAULTS,
    WrittenQuestion,
    fault_of,
    finds_again,
    parse_reply,
)
from tunesmith.retrieval.store import open_store

TEXT = "Every employee has thirty days of leave, and Ada Lovelace wrote the rule in 1843."


@pytest.mark.parametrize(
    ("reply", "written"),
    [
        ("Question: Who wrote it?\nAnswer: Ada", WrittenQuestion("Who wrote it?", "Ada")),
        (" Question: Who?\n\n Answer: Ada.\nThe answer is Ada.", WrittenQuestion("Who?", "Ada")),
        ('Question: Who?\nAnswer: "Ada Lovelace"', WrittenQuestion("Who?", "Ada Lovelace")),
        ("Question: Who wrote it?", None),
        ("Question: Who wrote it?\nAnswer:", None),
        ("Answer: Ada\nQuestion: Who wrote it?", None),
        ("Ada wrote it.", None),
        ("", None),
    ],
)
def test_only_a_question_with_an_answer_behind_it_is_read(reply, written):
    assert parse_reply(reply) == written


@pytest.mark.parametrize(
    ("question", "answer", "fault"),
    [
        ("Who wrote the rule of leave?", "Ada Lovelace", None),
        ("How much leave does every employee have?", "thirty days", None),
        ("Who wrote it?", "Ada Lovelace", "no_question"),
        ("Say who wrote the rule of leave", "Ada Lovelace", "no_question"),
        ("What does the rule say of leave?", TEXT, "long_answer"),
        ("Who wrote the rule of leave?", "Charles Babbage", "not_in_passage"),
        ("Who wrote the rule of leave?", "Lovelace Ada", "not_in_passage"),
        ("Who wrote the rule of leave?", "...", "not_in_passage"),
        ("What did Ada Lovelace write down?", "Ada Lovelace", "given_away"),
    ],
)
def test_an_answer_stands_in_the_passage_and_not_in_the_question(question, answer, fault):
    assert fault_of(WrittenQuestion(question, answer), passage("p", TEXT)) == fault
    assert fault is None or fault in FAULTS


def test_nothing_written_is_a_fault():
    assert fault_of(None, passage("p", TEXT)) == "form"


def test_a_question_finds_its_own_passage_and_not_another(indexed, embedder):
    indexed()
    store = open_store(indexed.uri)
    leave, pets, _ = store.passages()
    question = "How many days of leave has an employee?"
    assert finds_again(store, embedder, question, leave, top_k=1)
    assert not finds_again(store, embedder, question, pets, top_k=1)
    assert finds_again(store, embedder, question, pets, top_k=3)
