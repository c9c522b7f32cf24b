import re

import pytest

from tests.conversation.retrieving import NAMES, fact_store
from tests.retrieval.toy import ToyEmbedder
from tests.runs.tiny import base_folder
from tunesmith.conversation import documents, written_questions
from tunesmith.conversation.dataset import DatasetSettings, make_dataset
from tunesmith.conversation.written_questions import OPENINGS, Writing, write_questions
from tunesmith.core.errors import RagError
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.evaluation.answering import CachedAnswer

pytest.importorskip("lancedb", reason="the extra `rag` is not installed")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    store, model = fact_store(folder)
    return store, model, str(base_folder(folder / "base", max_position_embeddings=4096))


@pytest.fixture
def store(places, monkeypatch):
    monkeypatch.setattr(documents, "load_embedder", lambda *_, **__: ToyEmbedder(places[1]))
    return places[0]


@pytest.fixture
def scribe(monkeypatch):
    """A base that knows what to write: by chunk and try, as it is told."""
    asked = []

    def told(write):
        def replies(self, numbers, number):
            asked.append(list(numbers))
            return [write(self._passages[i].text, number) for i in numbers]

        monkeypatch.setattr(written_questions._Writer, "replies", replies)
        return asked

    return told


def who_painted(text, number):
    room, painter = re.search(r"The (\w+) room", text)[1], re.search(r"by (\w+)", text)[1]
    return f"Question: Who painted the {room} room?\nAnswer: {painter}"


def test_what_passes_stays_with_its_passage_and_is_not_asked_again(places, store, scribe):
    asked = scribe(lambda text, n: who_painted(text, n) if n or "amber" in text else "Nothing.")
    found = write_questions(store, model=places[2], settings=Writing(tries=3))
    assert [question.answers for question in found.questions] == [(f"{n}son",) for n in NAMES]
    assert [question.source for question in found.questions] == [f"{n}.txt" for n in NAMES]
    assert list(map(len, asked)) == [10, 9, 0]
    assert found.to_json() == {"chunks": 10, "kept": 10, "faults": {"form": 9}}


def test_what_may_not_stay_is_counted(places, store, scribe):
    replies = {
        "amber": "Question: Who painted the cedar room?\nAnswer: amberson",
        "birch": "Question: Who painted the birch room?\nAnswer: Leonardo",
        "cedar": "Question: Who painted the cedar room?\nAnswer: cedarson",
    }
    scribe(lambda text, _: next((r for n, r in replies.items() if n in text), ""))
    found = write_questions(store, model=places[2], settings=Writing(tries=1, top_k=1))
    assert [question.source for question in found.questions] == ["cedar.txt"]
    assert found.faults == {"not_found": 1, "not_in_passage": 1, "form": 7}


def test_chunks_are_drawn_by_the_seed(places, store, scribe):
    scribe(who_painted)
    drawn = [
        tuple(q.source for q in write_questions(store, model=places[2], settings=each).questions)
        for each in (Writing(4, seed=0), Writing(4, seed=0), Writing(4, seed=1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4


def test_written_questions_become_rows(places, store, scribe, tmp_path):
    scribe(who_painted)
    found = write_questions(store, model=places[2])
    settings = DatasetSettings(sources=3, held=0.3)
    done = make_dataset(
        found.questions, store, tmp_path / "out", model=places[2], settings=settings
    )
    assert sum(sum(kinds.values()) for kinds in done.rows.values()) == len(NAMES)
    assert done.left_out == {"no_passage": [], "no_source": [], "too_long": []}


def test_a_base_that_writes_nothing_of_use_is_told(places, store):
    with pytest.raises(RagError, match=r"may stay \(form \d+") as refused:
        write_questions(store, model=places[2], settings=Writing(3, tries=1))
    assert "--model" in refused.value.remedy


def test_a_stop_keeps_what_was_written_and_the_next_call_goes_on(places, store, monkeypatch):
    phases = []
    monkeypatch.setattr("tunesmith.core.progress.SECONDS_BETWEEN_REPORTS", -1.0)
    stop = Progress(phases.append, cancelled=lambda: phases[-1].done >= 2)
    with pytest.raises(Cancelled):
        write_questions(store, model=places[2], settings=Writing(5, tries=1), progress=stop)
    again = []
    with pytest.raises(RagError, match="may stay"):
        write_questions(
            store, model=places[2], settings=Writing(5, tries=1), progress=Progress(again.append)
        )
    first = next(each for each in again if each.total == 5)
    assert first.done >= 2


def test_a_prompt_ends_with_the_opening_of_a_question(places, store, monkeypatch):
    seen = []

    def answered(engine, arms, caches, **_):
        seen.extend(prompt.ids for arm in arms.values() for prompt in arm.prompts)
        return {
            name: tuple(CachedAnswer((), "stop") for _ in arm.prompts) for name, arm in arms.items()
        }

    monkeypatch.setattr(written_questions, "answer_arms", answered)
    with pytest.raises(RagError):
        write_questions(store, model=places[2], settings=Writing(2, tries=5))
    loaded = written_questions.open_base(places[2])
    texts = [loaded.base.tokenizer.decode(ids) for ids in seen]
    for chunk in range(2):
        openings = {text.rpartition("Question: ")[2] for text in texts[chunk::2]}
        assert openings == set(OPENINGS)
