import pytest

from tests.retrieval.conftest import write_documents
from tests.retrieval.toy import ToyEmbedder, toy_folder
from tests.runs.tiny import base_folder
from tunesmith.adapters.loaded_base import open_base
from tunesmith.conversation import ask as ask_module
from tunesmith.conversation import documents as documents_module
from tunesmith.conversation.ask import Answer, Answerer, AskSettings
from tunesmith.conversation.documents import Documents, FindSettings
from tunesmith.core.errors import RagError, UsageError
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.tokenizer import encode
from tunesmith.generation.decoder import ChatSession
from tunesmith.generation.sampling import Sampling
from tunesmith.retrieval.document import ChunkConfig
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.passage import Filter
from tunesmith.retrieval.prompt import REFUSALS, CitedSource, check_citations
from tunesmith.retrieval.retrieve import SearchOptions

pytest.importorskip("lancedb", reason="the extra `rag` is not installed")

SHORT = Sampling(max_new_tokens=6)
SETTINGS = AskSettings(sampling=SHORT)
QUESTION = "Who pays train tickets?"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask")
    model = toy_folder(folder / "model")
    source = IndexedFolder(write_documents(folder / "docs"), "toy", lambda: ToyEmbedder(model))
    index(source, str(folder / "store"))
    return str(folder / "store"), model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = base_folder(tmp_path_factory.mktemp("base"), max_position_embeddings=2048)
    return open_base(str(folder), dtype="float32")


@pytest.fixture
def documents(store, monkeypatch):
    uri, model = store
    monkeypatch.setattr(documents_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))
    return lambda **settings: Documents(uri, FindSettings(**settings))


def test_an_answer_is_what_the_model_says_to_the_prompt(documents, loaded):
    found = documents().find(QUESTION)
    answerer = Answerer(loaded, SETTINGS)
    told = []
    answer = answerer.answer(found, on_text=told.append)
    prompt = answerer.prompt(found)
    messages = [Message("system", prompt.system), Message("user", prompt.user)]
    ids = render_prompt(loaded.base.tokenizer, messages)
    session = ChatSession(loaded.engine, stop_ids=loaded.base.stop_ids, adapter=None, capacity=2048)
    alone = loaded.base.tokenizer.decode(list(session.stream(ids, sampling=SHORT, seed=0)))
    assert "".join(told).strip() == answer.text == alone.rstrip("\ufffd").strip()
    assert [source.number for source in answer.sources] == [1, 2, 3]
    assert answer.hits[0].passage.source == "travel.txt"
    document = answer.to_json()
    assert {"answer", "refused", "sources"} <= document.keys()
    assert {"number", "source", "page", "text", "score"} <= document["sources"][0].keys()


CITED = CitedSource(1, "a.txt", "text")


@pytest.mark.parametrize(
    ("text", "refused", "uncited"),
    [
        ("Thirty days [1].", False, False),
        ("Thirty days.", False, True),
        ("Thirty days [7].", False, True),
        ("The documents do not say.", True, False),
    ],
)
def test_an_answer_that_cites_no_source_is_marked_unless_it_refuses(text, refused, uncited):
    citations = check_citations(text, [CITED])
    answer = Answer(text, refused, (), (), citations, confidence=None)
    document = answer.to_json()
    assert document["uncited"] is uncited
    assert any("cites none of its sources" in each for each in document["faults"]) is uncited


def test_each_question_stands_alone(documents, loaded):
    found = documents().find(QUESTION)
    answerer = Answerer(loaded, SETTINGS)
    assert answerer.answer(found) == answerer.answer(found)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, False),  # no threshold is known for this model
        ({"threshold": 0.99}, True),
        ({"threshold": 0.1}, False),
        ({"search": SearchOptions(mode="text", where=Filter(source="pets.txt"))}, True),
    ],
)
def test_below_the_threshold_nothing_is_answered(documents, settings, refused):
    found = documents(**settings).find(QUESTION)
    assert found.refused is refused
    if refused:
        told = []
        answer = ask_module.refuse(found, on_text=told.append)
        assert (answer.text, answer.refused, told) == (REFUSALS["en"], True, [REFUSALS["en"]])


def test_the_confidence_is_that_of_five_passages_however_few_are_shown(documents):
    one = documents(search=SearchOptions(1)).find(QUESTION)
    whole = documents().find(QUESTION)
    assert (len(one.hits), one.hits) == (1, whole.hits[:1])
    assert one.confidence == whole.confidence


def test_why_nothing_was_answered_is_known(documents):
    found = documents(threshold=0.99).find(QUESTION)
    assert found.why == f"confidence {found.confidence:.2f}, threshold 0.99"
    assert ask_module.refuse(found).to_json()["threshold"] == 0.99
    assert "threshold unknown" in documents().find(QUESTION).why
    nothing = documents(search=SearchOptions(mode="text", where=Filter(source="pets.txt")))
    assert nothing.find(QUESTION).why == "no passage was found"


def test_whoever_asks_an_english_model_in_korean_is_told(store, documents, monkeypatch):
    asked = documents()
    assert asked.find("연차는 며칠인가요?").advice == ""  # what the toy reads is not known
    monkeypatch.setattr(documents_module, "reads_only_latin", lambda _: True)
    assert "multilingual-e5-small" in asked.find("연차는 며칠인가요?").advice
    assert asked.find(QUESTION).advice == ""
    assert documents(search=SearchOptions(mode="text")).find("연차는 며칠인가요?").advice == ""


def test_a_search_of_no_passage_is_refused(documents):
    with pytest.raises(RagError, match="No passage has source=nothing"):
        documents(search=SearchOptions(where=Filter(source="nothing"))).find(QUESTION)


def test_the_prompt_leaves_room_for_the_answer_and_says_what_it_left_out(documents, loaded):
    found = documents().find(QUESTION)
    whole = Answerer(loaded, SETTINGS).prompt(found)
    length = sum(len(each) for each in encode(loaded.base.tokenizer, [whole.system, whole.user]))
    tight = Answerer(loaded, AskSettings(length, SHORT))
    answer = tight.answer(found)
    assert len(answer.sources) + answer.left_out == 3
    assert answer.left_out > 0


def test_neighbours_are_shown_with_the_passage(documents):
    assert documents(neighbours=1).find(QUESTION).passages == documents().find(QUESTION).passages


def test_sources_are_told_as_they_were_shown(store, tmp_path, monkeypatch):
    text = "\n\n".join(f"This is paragraph {i}. It ends here." for i in range(12))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "long.txt").write_text(text)
    toy = ToyEmbedder(store[1])
    source = IndexedFolder(tmp_path / "docs", "toy", lambda: toy, ChunkConfig(20, 4))
    index(source, str(tmp_path / "store"))
    monkeypatch.setattr(documents_module, "load_embedder", lambda *_, **__: toy)
    settings = FindSettings(SearchOptions(limit=1), neighbours=1)
    found = Documents(str(tmp_path / "store"), settings).find("paragraph 6?")
    passage = found.hits[0].passage
    assert found.passages == [(passage.place, passage.text)]
    assert passage.text.split() == text[passage.start : passage.stop].split()
    assert passage.text.count("paragraph") > 3


def test_an_empty_question_is_refused(documents):
    with pytest.raises(UsageError):
        documents().find("  ")
