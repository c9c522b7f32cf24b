"""LangChain's and LlamaIndex's classes for OpenAI talk to the server unchanged."""

import pytest

CITY = {
    "title": "place",
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def weather(city: str) -> str:
    """The weather of a city."""
    return city


def test_langchain_chats_streams_and_calls(client, caller):
    langchain = pytest.importorskip("langchain_openai", reason="needs langchain-openai")
    asked = {"api_key": "none", "temperature": 0, "max_tokens": 12, "max_retries": 0}
    model = langchain.ChatOpenAI(model="mine", base_url=str(client.base_url), **asked)
    expected = client.chat.completions.create(
        model="mine",
        messages=[{"role": "user", "content": "hello"}],
        temperature=0,
        max_tokens=12,
    )
    found = model.invoke("hello")
    assert found.content == expected.choices[0].message.content
    assert found.usage_metadata["total_tokens"] == expected.usage.total_tokens
    pieces = list(model.stream("hello", stream_usage=True))
    assert "".join(piece.content for piece in pieces) == found.content
    assert [batch.content for batch in model.batch(["hello", "hello"])] == [found.content] * 2
    responses = langchain.ChatOpenAI(
        model="mine", base_url=str(client.base_url), use_responses_api=True, **asked
    )
    assert responses.invoke("hello").text == found.content
    asked["max_tokens"] = 200
    calling = langchain.ChatOpenAI(model="caller", base_url=str(caller.base_url), **asked)
    for forced in ("place", "any"):  # its word for required
        bound = calling.bind_tools([CITY], tool_choice=forced, parallel_tool_calls=False)
        answer = bound.invoke("hi")
        (call,) = answer.tool_calls
        assert call["name"] == "place"
        assert call["args"]["city"] in ("Oslo", "Bergen")
    structured = calling.with_structured_output(CITY, method="json_schema")
    assert structured.invoke("hi")["city"] in ("Oslo", "Bergen")


def test_llama_index_completes_chats_and_streams(client):
    like = pytest.importorskip(
        "llama_index.llms.openai_like", reason="needs llama-index-llms-openai-like"
    )
    llms = pytest.importorskip("llama_index.core.llms")
    model = like.OpenAILike(
        model="mine",
        api_base=str(client.base_url),
        api_key="none",
        is_chat_model=True,
        context_window=256,
        max_tokens=12,
        temperature=0,
        max_retries=0,
    )
    expected = client.chat.completions.create(
        model="mine",
        messages=[{"role": "user", "content": "hello"}],
        temperature=0,
        max_tokens=12,
    )
    text = expected.choices[0].message.content
    asked = [llms.ChatMessage(role="user", content="hello")]
    assert model.chat(asked).message.content == text
    assert model.complete("hello").text == text
    assert "".join(piece.delta or "" for piece in model.stream_chat(asked)) == text
