import json
import re
from dataclasses import replace

import pytest

from tests.rag.toy import ToyEmbedder
from tests.workflows.retrieving import NAMES, fact_store, facts_file
from tests.workflows.tiny import base_folder
from tunesmith.data.read import read_conversations
from tunesmith.errors import DataError, RagError
from tunesmith.rag.questions import Question
from tunesmith.rag.training import Shares
from tunesmith.workflows import ask as ask_module
from tunesmith.workflows.rag_dataset import DatasetSettings, make_dataset
from tunesmith.workflows.rag_questions import read_questions

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
    monkeypatch.setattr(ask_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))

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
        assert abs(kinds["none"] - 0.3 * rows) <= 1
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
        Question(q.text, q.answers, q.source, group="ab"[i // (len(questions) // 2)])
        for i, q in enumerate(questions)
    ]
    done = make(questions=halves, settings=DatasetSettings(held=0.5))
    counts = [sum(kinds.values()) for kinds in done.rows.values()]
    assert counts == [len(NAMES), len(NAMES)]
    with pytest.raises(RagError, match="one group"):
        make("one", [Question(q.text, q.answers, q.source, group="a") for q in questions])


def test_it_is_the_same_again(make):
    one, two = make("one"), make("two")
    for file in ("train.jsonl", "eval.jsonl", "questions.jsonl"):
        assert (one.out / file).read_bytes() == (two.out / file).read_bytes()


def test_what_nothing_answers_is_refused_and_what_the_store_lacks_left_out(make, places):
    questions = read_questions(str(places[3]))
    more = [Question("Who owns the moon?", (), line=90), Question("Who?", ("nobody",), line=91)]
    lost = replace(questions[0], source="docs/amber.txt", line=92)
    done = make(questions=[*questions, *more, lost])
    assert done.left_out == {"no_passage": [91], "no_source": [92], "too_long": []}
    text = "".join((done.out / name).read_text() for name in ("train.jsonl", "eval.jsonl"))
    (row,) = (json.loads(line) for line in text.splitlines() if "the moon" in line)
    assert row["messages"][-1]["content"] == "The documents do not say."


def test_a_store_without_any_of_the_passages_and_a_folder_in_use_are_refused(make):
    with pytest.raises(RagError, match="no passage for any"):
        make(questions=[Question("Who?", ("nobody",))])
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
