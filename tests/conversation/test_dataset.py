""""""

import json
import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conversation.retrieving import NAMES, fact_store, facts_file
from tests.data.reading import read_conversations
from tests.retrieval.test_retrieve import passage
from tests.retrieval.toy import ToyEmbedder
from tests.runs.tiny import base_folder
from tunesmith.conversation import documents as documents_module
from tunesmith.conversation.dataset import (
    DatasetSettings,
    Shares,
    compose,
    deal,
    draw_distractors,
    make_dataset,
)
from tunesmith.conversation.questions import read_questions
from tunesmith.core.errors import DataError, RagError
from tunesmith.retrieval.prompt import build_prompt
from tunesmith.retrieval.questions import KnownPassages, RetrievalQuestion
from tunesmith.retrieval.retrieve import Hit

QUESTION = RetrievalQuestion("How many days of leave are there?", ("thirty days",))
RIGHT = passage(
    "right", "Each employee has, in every year and of whatever kind, leave of thirty days"
)
NEAR = passage(
    "near", "Each employee has, in every year and of whatever kind, leave of twenty days"
)
SAYS = passage("says", "Notice must be given thirty days before.")
OTHERS = [
    passage(f"o{i}", f"{word} are fed by the caretaker")
    for i, word in enumerate(("dogs", "cats", "birds and many other kinds of animals here"))
]
KNOWN = KnownPassages(tuple(Hit(p, 1.0) for p in (RIGHT, NEAR, SAYS, *reversed(OTHERS))), (RIGHT,))


def ask(limit=10_000):
    return lambda question, passages: build_prompt(
        question, passages, max_tokens=limit, count=lambda text: len(text.split())
    )


@given(
    count=st.integers(0, 200),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    seed=st.integers(0, 9),
)
def test_kinds_are_dealt_in_the_shares_to_a_row(count, cut, seed):
    a, b = sorted(cut)
    shares = Shares(a / 10, (b - a) / 10, (10 - b) / 10)
    kinds = deal(count, shares, seed=seed)
    assert len(kinds) == count
    assert kinds == deal(count, shares, seed=seed)
    for kind, number in Counter(kinds).items():
        assert abs(number - count * getattr(shares, kind)) <= 1


def test_shares_must_sum_to_one():
    with pytest.raises(RagError, match="do not sum to 1"):
        Shares(0.5, 0.5, 0.5)


def test_distractors_are_hard_ones_that_answer_nothing():
    everything = [RIGHT, NEAR, SAYS, *OTHERS]
    drawn = draw_distractors(QUESTION, KNOWN, everything, count=2, rng=random.Random(0))
    assert drawn[0] == OTHERS[2]  # the best hit that may stand there
    assert drawn[1] in OTHERS


def test_distractors_come_from_the_given_side_alone_where_hits_run_out():
    unseen = KnownPassages((), (RIGHT,))
    drawn = draw_distractors(QUESTION, unseen, [RIGHT, OTHERS[0]], count=5, rng=random.Random(0))
    assert drawn == [OTHERS[0]]


@given(seed=st.integers(0, 50))
def test_the_answer_cites_the_number_under_which_the_right_passage_stands(seed):
    row = compose(QUESTION, RIGHT, OTHERS, ask=ask(), rng=random.Random(seed))
    assert row.kind == "distractors"
    assert row.answer == f"thirty days [{row.right}]"
    assert row.prompt.sources[row.right - 1].text == RIGHT.text
    assert set(row.passages) == {RIGHT, *OTHERS}


def test_the_right_passage_stands_in_every_place():
    rows = (compose(QUESTION, RIGHT, OTHERS, ask=ask(), rng=random.Random(i)) for i in range(40))
    assert {row.right for row in rows} == {1, 2, 3, 4}


def test_without_the_right_passage_the_answer_is_the_refusal():
    row = compose(QUESTION, None, OTHERS, ask=ask(), rng=random.Random(0))
    assert (row.kind, row.right, row.answer) == ("unanswerable", None, row.prompt.refusal)


@given(limit=st.integers(60, 160), seed=st.integers(0, 20))
def test_the_right_passage_is_whole_however_little_room_there_is(limit, seed):
    long = [passage(f"l{i}", f"{i} " + "word " * 20) for i in range(3)]
    row = compose(QUESTION, RIGHT, long, ask=ask(limit), rng=random.Random(seed))
    if row is None:  # not even alone
        assert compose(QUESTION, RIGHT, (), ask=ask(limit), rng=random.Random(0)) is None
    else:
        assert row.prompt.sources[row.right - 1].text == RIGHT.text
        assert row.passages[row.right - 1] == RIGHT


def test_citations_in_a_given_answer_are_replaced():
    question = RetrievalQuestion("x?", ("thirty days [7]",))
    row = compose(question, RIGHT, (), ask=ask(), rng=random.Random(0))
    assert (row.kind, row.answer) == ("right", "thirty days [1]")


pytest.importorskip("lancedb", reason="the extra `rag` is not installed")

SETTINGS = DatasetSettings(Shares(0.2, 0.5, 0.3), sources=3, held=0.3)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    store, model = fact_store(folder)
    base = base_folder(folder / "base", max_position_embeddings=4096)
    return store, model, str(base), facts_file(folder / "facts.jsonl")


@pytest.fixture
def make(places, monkeypatch, tmp_path):
    store, model, base, file = places
    monkeypatch.setattr(documents_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))

    def go(name="out", questions=None, settings=SETTINGS):
        asked = read_questions(str(file)) if questions is None else questions
        return make_dataset(asked, store, tmp_path / name, model=base, settings=settings)

    return go


def sources_in(conversation):
    """The files whose passages stand in a row's prompt, by number."""
    user = conversation.messages[-2].content
    return re.findall(r"^\[\d+\] (\w+)\.txt$", user, re.M)


def test_rows_cite_the_right_source_or_refuse(make):
    done = make()
    for file in ("train.jsonl", "eval.jsonl"):
        for row in read_conversations(done.out / file):  # raises for what `data check` refuses
            question = row.messages[-2].content.rpartition("Question: ")[2]
            name = next(name for name in NAMES if name in question)
            answer, sources = row.messages[-1].content, sources_in(row)
            if name in sources:
                assert re.fullmatch(rf"({name}son|19\d0) \[{sources.index(name) + 1}\]", answer)
            else:
                assert answer == "The documents do not say."
                assert 1 <= len(sources) <= 3  # few documents are held out


def test_kinds_have_their_shares_and_all_questions_a_row(make):
    done = make()
    for kinds in done.rows.values():
        rows = sum(kinds.values())
        assert abs(kinds["unanswerable"] - 0.3 * rows) <= 1
        assert abs(kinds["right"] - 0.2 * rows) <= 1
    assert sum(sum(kinds.values()) for kinds in done.rows.values()) == 2 * len(NAMES)
    assert done.left_out == {"no_passage": [], "no_source": [], "too_long": []}


@pytest.mark.parametrize("seed", range(3))
def test_no_passage_is_on_both_sides(make, seed):
    done = make(settings=DatasetSettings(sources=3, held=0.3, seed=seed))
    train, held = (
        {name for row in read_conversations(done.out / file) for name in sources_in(row)}
        for file in ("train.jsonl", "eval.jsonl")
    )
    assert train
    assert held
    assert not train & held
    questions = read_questions(str(done.out / "questions.jsonl"))
    assert len(questions) == done.to_json()["eval"]["rows"]


def test_groups_of_questions_stay_together(make, places):
    questions = read_questions(str(places[3]))
    halves = [
        RetrievalQuestion(q.text, q.answers, q.source, group="ab"[i // (len(questions) // 2)])
        for i, q in enumerate(questions)
    ]
    done = make(questions=halves, settings=DatasetSettings(held=0.5))
    counts = [sum(kinds.values()) for kinds in done.rows.values()]
    assert counts == [len(NAMES), len(NAMES)]
    with pytest.raises(RagError, match="one group"):
        make("one", [RetrievalQuestion(q.text, q.answers, q.source, group="a") for q in questions])


def test_it_is_the_same_again(make):
    one, two = make("one"), make("two")
    for file in ("train.jsonl", "eval.jsonl", "questions.jsonl"):
        assert (one.out / file).read_bytes() == (two.out / file).read_bytes()


def test_what_nothing_answers_is_refused_and_what_the_store_lacks_left_out(make, places):
    questions = read_questions(str(places[3]))
    more = [
        RetrievalQuestion("Who owns the moon?", (), line=90),
        RetrievalQuestion("Who?", ("nobody",), line=91),
    ]
    lost = replace(questions[0], source="docs/amber.txt", line=92)
    done = make(questions=[*questions, *more, lost])
    assert done.left_out == {"no_passage": [91], "no_source": [92], "too_long": []}
    text = "".join((done.out / name).read_text() for name in ("train.jsonl", "eval.jsonl"))
    (row,) = (json.loads(line) for line in text.splitlines() if "the moon" in line)
    assert row["messages"][-1]["content"] == "The documents do not say."


def test_a_store_without_any_of_the_passages_and_a_folder_in_use_are_refused(make):
    with pytest.raises(RagError, match="no passage for any"):
        make(questions=[RetrievalQuestion("Who?", ("nobody",))])
    make()
    with pytest.raises(RagError, match="exists already"):
        make()


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"question": "q", "answers": ["a", "b", "a"]}, ("a", "b")),
        ({"query": "q", "answers": [{"text": "a", "answer_start": 3}]}, ("a",)),
        ({"prompt": "q", "completion": "a"}, ("a",)),
        ({"question": "q", "answer": ""}, ()),
        ({"question": "q", "answers": {"text": []}}, ()),
        ({"question": "q", "answer": "a", "is_impossible": True}, ()),
    ],
)
def test_answers_are_read_as_others_write_them(tmp_path, row, answers):
    (tmp_path / "q.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    question, _ = read_questions(str(tmp_path / "q.jsonl"))
    assert (question.text, question.answers) == ("q", answers)


def test_columns_are_mapped_and_missing_ones_told_with_their_line(tmp_path):
    (tmp_path / "q.csv").write_text("frage,antwort,title\nq,a,t\n")
    file = str(tmp_path / "q.csv")
    columns = {"question": "frage", "answer": "antwort"}
    (question,) = read_questions(file, columns=columns, group="title")
    assert (question.text, question.answers, question.group) == ("q", ("a",), "t")
    with pytest.raises(DataError, match=r"q\.csv:2: \"question\" is missing"):
        read_questions(file)
    with pytest.raises(DataError, match="topic"):
        read_questions(file, columns=columns, group="topic")


def test_a_question_without_a_column_of_answers_is_told_how_to_say_that_nothing_answers(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "q"}\n')
    with pytest.raises(DataError, match=r'"answer" is missing .*empty \(""\) where nothing'):
        read_questions(str(tmp_path / "q.jsonl"))
