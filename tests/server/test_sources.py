"""`MODEL+rag` answers from documents as `rag ask` does, cites them, and sees what was edited."""

import numpy as np
import openai
import pytest

import tunesmith as ts
from tests.retrieval.toy import ToyEmbedder, toy_folder
from tests.runs.tiny import base_folder
from tests.server.conftest import client_of
from tunesmith.adapters.loaded_base import open_base
from tunesmith.conversation import documents as documents_module
from tunesmith.conversation.ask import Answerer, AskSettings
from tunesmith.conversation.documents import Documents
from tunesmith.generation.sampling import Sampling
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.prompt import CitedSource
from tunesmith.server.documents import chat_annotations

QUESTION = "Who painted the amber room?"
QUESTIONS = (QUESTION, "Who painted the birch room?", "Which room did amberson paint?")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, documents, their store, and a server over them."""
    root = tmp_path_factory.mktemp("cited")
    base_folder(root / "base", max_position_embeddings=2048)
    (root / "docs").mkdir()
    for name in ("amber", "birch"):
        (root / "docs" / f"{name}.txt").write_text(f"The {name} room was painted by {name}son.")
    model = toy_folder(root / "toy")
    write = lambda: index(  # noqa: E731
        IndexedFolder(root / "docs", "toy", lambda: ToyEmbedder(model)), str(root / "store")
    )
    write()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_HOME", str(root / "home"))
        patch.setattr(documents_module, "load_embedder", lambda *_, **__: ToyEmbedder(model))
        options = {"port": 0, "dtype": "float32", "device": "cpu", "rag": root / "store"}
        with ts.serve(str(root / "base"), **options) as server:
            yield root, client_of(server), write


def ask(client, question=QUESTION, **options):
    asked = {"model": "base+rag", "temperature": 0, "max_tokens": 6, **options}
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(messages=messages, **asked)


def by_rag_ask(root, question):
    settings = AskSettings(sampling=Sampling(max_new_tokens=6))
    answerer = Answerer(open_base(str(root / "base"), dtype="float32"), settings)
    return answerer.answer(Documents(str(root / "store")).find(question))


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_answers_as_rag_ask_with_the_same_sources(place, question):
    root, client, _ = place
    expected, found = by_rag_ask(root, question), ask(client, question)
    message = found.choices[0].message
    assert message.content.strip() == expected.text
    assert found.sources == expected.to_json()["sources"]
    places = {each["url_citation"]["title"] for each in message.annotations}
    sources = expected.to_json()["sources"]
    assert places == {s["place"] for s in sources if s["number"] in expected.to_json()["cited"]}
    pieces = list(ask(client, question, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == message.content


def test_what_does_not_fit_and_an_unknown_model_are_the_askers_fault(place):
    _, client, _ = place
    with pytest.raises(openai.BadRequestError, match="has no room for sources") as refused:
        ask(client, max_tokens=2048)
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        ask(client, "zzz qqq xxx", model="nonsense+rag")


def test_what_was_edited_is_found_without_a_restart(place):
    root, client, write = place
    first = lambda: ask(client, logprobs=True).choices[0].logprobs.content[0].logprob  # noqa: E731
    before = first()
    (root / "docs" / "amber.txt").write_text("The amber room was painted by Zoe.")
    write()
    found = ask(client)
    assert "Zoe" in found.sources[0]["text"]
    assert found.choices[0].message.content.strip() == by_rag_ask(root, QUESTION).text
    assert abs(first() - before) > 1e-6, "a base of random weights changes little more"


def test_the_models_are_listed_and_a_conversation_is_refused(place):
    _, client, _ = place
    found = {model.id: model.parent for model in client.models.list()}
    assert found == {"base": None, "base+rag": "base"}
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": QUESTION}]
    with pytest.raises(openai.BadRequestError, match="one question"):
        client.chat.completions.create(model="base+rag", messages=messages)
    with pytest.raises(openai.BadRequestError, match="are for chats"):
        client.completions.create(model="base+rag", prompt="x")
    with pytest.raises(openai.BadRequestError, match="question is empty"):
        ask(client, " ")


def test_too_little_is_refused_without_a_model(place, monkeypatch):
    _, client, _ = place
    monkeypatch.setattr(Documents, "refresh", lambda documents: None)
    find = Documents.find

    def nothing(documents, question):
        found = find(documents, question)
        return type(found)(question, [], [], 0.1, refused=True)

    monkeypatch.setattr(Documents, "find", nothing)
    found = ask(client)
    assert found.choices[0].message.content == "The documents do not say."
    assert (found.usage.total_tokens, found.sources) == (0, [])
    _, text, end = list(ask(client, stream=True))
    assert text.choices[0].delta.content == found.choices[0].message.content
    assert end.choices[0].finish_reason == "stop"


def test_citations_have_their_places():
    sources = [CitedSource(1, "a.txt", "x"), CitedSource(2, "b.pdf, page 3", "y")]
    found = chat_annotations("One [1]. Two [2, 7].", sources)
    cited = [each["url_citation"] for each in found]
    assert [(c["start_index"], c["end_index"], c["title"]) for c in cited] == [
        (4, 7, "a.txt"),
        (13, 19, "b.pdf, page 3"),
    ]


def test_texts_are_embedded_as_documents_are(place):
    root, client, _ = place
    texts = ["the amber room", "birch"]
    expected = ToyEmbedder(root / "toy").embed(texts)
    for form in ({}, {"encoding_format": "float"}):  # unless told, the client asks for base64
        found = client.embeddings.create(model="toy", input=texts, **form)
        assert np.allclose([each.embedding for each in found.data], expected)
        assert found.usage.prompt_tokens == 4
    assert len(client.embeddings.create(model="toy", input="one").data) == 1
    with pytest.raises(openai.NotFoundError, match="There is toy"):
        client.embeddings.create(model="base", input="x")
    for wrong in ("", ["x", ""], ["x"] * 257):
        with pytest.raises(openai.BadRequestError, match="input"):
            client.embeddings.create(model="toy", input=wrong)


def test_documents_are_searched_and_asked_by_tools(place):
    pytest.importorskip("mcp", reason="needs the extra mcp")
    from tests.server.test_mcp import ask as call

    root, client, _ = place
    url = str(client.base_url).removesuffix("/v1/")
    assert [tool.name for tool in call(url, None)][-1] == "search_documents"
    found = call(url, "search_documents", query=QUESTION).structured_content
    expected = Documents(str(root / "store")).find(QUESTION)
    assert [p["text"] for p in found["passages"]] == [text for _, text in expected.passages]
    assert found["enough"] is not expected.refused
    answered = call(url, "ask_model", model="base+rag", message=QUESTION, max_tokens=6)
    assert answered.structured_content["sources"] == ask(client).sources


def test_a_response_cites_and_lists_its_sources(place):
    _, client, _ = place
    asked = {"model": "base+rag", "input": QUESTION, "temperature": 0, "max_output_tokens": 6}
    found, chat = client.responses.create(**asked), ask(client)
    assert found.output_text == chat.choices[0].message.content
    assert found.sources == chat.sources
    assert found.output[0].content[0].annotations == []
    *_, last = client.responses.create(stream=True, **asked)
    assert last.response.sources == chat.sources
    with pytest.raises(openai.BadRequestError, match="one question"):
        client.responses.create(previous_response_id=found.id, **asked)
