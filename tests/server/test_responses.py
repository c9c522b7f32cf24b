"""The API of responses, asked by OpenAI's own client: text, calls, chains, streams."""

import json

import openai
import pytest

from tests.models.tiny import tiny_tokenizer
from tests.server.conftest import client_of
from tunesmith.server.errors import ApiError
from tunesmith.server.stored import StoredResponse, StoredResponses

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
END = tiny_tokenizer().eos_token_id
SCORES = "message.output_text.logprobs"


def respond(client, said="hello", model="base", **options):
    values = {"max_output_tokens": 12, "temperature": 0, **options}
    return client.responses.create(model=model, input=said, **values)


def chat_text(client, *messages, model="base"):
    found = client.chat.completions.create(
        model=model,
        messages=[{"role": role, "content": text} for role, text in messages],
        temperature=0,
        max_tokens=12,
    )
    return found.choices[0].message.content


def test_a_text_is_answered_as_a_chat_is(client):
    found = respond(client)
    assert found.output_text == chat_text(client, ("user", "hello"))
    assert (found.object, found.model, found.error) == ("response", "base", None)
    (item,) = found.output
    assert (item.type, item.role, item.content[0].type) == ("message", "assistant", "output_text")
    usage = found.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert 0 < usage.output_tokens <= 12
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_items_and_instructions_are_a_conversation(client):
    said = [("system", "be kind"), ("user", "hello"), ("assistant", "ab"), ("user", "again")]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ab", "annotations": []}],
        },
        {"role": "user", "content": "again"},
    ]
    found = respond(client, items, instructions="be kind")
    assert found.output_text == chat_text(client, *said)
    assert found.instructions == "be kind"


def test_a_response_is_continued_without_its_instructions(client):
    first = respond(client, instructions="be kind")
    second = respond(client, "again", previous_response_id=first.id)
    third = respond(client, "more", previous_response_id=second.id)
    said = [("user", "hello"), ("assistant", first.output_text), ("user", "again")]
    assert second.output_text == chat_text(client, *said)
    said += [("assistant", second.output_text), ("user", "more")]
    assert third.output_text == chat_text(client, *said)
    assert third.previous_response_id == second.id
    assert second.usage.input_tokens < third.usage.input_tokens


def test_a_response_can_be_read_again_and_forgotten(client):
    first = respond(client)
    second = respond(client, "again", previous_response_id=first.id, metadata={"a": "b"})
    assert client.responses.retrieve(second.id) == second
    items = client.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.role for item in items.data] == ["user", "assistant"]
    texts = [item.role for item in items]  # the next page too
    assert texts == ["user", "assistant", "user"]
    client.responses.delete(second.id)
    for ask in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError, match="There is no response"):
            ask(second.id)
    with pytest.raises(openai.BadRequestError, match="without any parameter"):
        client.responses.retrieve(first.id, include=[SCORES])


def test_what_is_not_stored_cannot_be_continued(client):
    first = respond(client, store=False)
    assert first.store is False
    with pytest.raises(openai.BadRequestError) as refused:
        respond(client, previous_response_id=first.id)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"


def test_responses_are_a_clients_own_and_the_oldest_are_forgotten():
    kept = StoredResponses(budget=300)
    for name in ("a", "b", "c"):
        kept.keep(StoredResponse("ann", (), ({"x": "y" * 80},), {"id": name, "output": []}))
    assert kept.get("c", "ann").document["id"] == "c"
    for name, client in (("a", "ann"), ("c", "bob"), ("c", "")):
        with pytest.raises(ApiError, match="There is no response"):
            kept.get(name, client)
    kept.keep(StoredResponse("ann", (), ({"x": "y" * 400},), {"id": "large", "output": []}))
    with pytest.raises(ApiError):
        kept.get("large", "ann")
    assert kept._used == 0


ORDER = (
    *("response.created", "response.in_progress", "response.output_item.added"),
    *("response.content_part.added", "response.output_text.delta", "response.output_text.done"),
    *("response.content_part.done", "response.output_item.done", "response.completed"),
)


def test_a_stream_has_the_events_of_the_client(client):
    soon = {"max_output_tokens": 200, "extra_body": {"logit_bias": {str(END): 1.5}}}
    with client.responses.stream(model="base", input="hello", temperature=0, **soon) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert tuple(dict.fromkeys(kinds)) == ORDER
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    whole = respond(client, **soon)
    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert client.responses.retrieve(final.id).output_text == whole.output_text


def test_an_answer_that_was_cut_is_incomplete(client):
    found = respond(client, max_output_tokens=2)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert found.output[0].status == "incomplete"
    *_, last = respond(client, max_output_tokens=2, stream=True)
    assert last.type == "response.incomplete"
    assert last.response.output_text == found.output_text


def test_an_answer_that_fails_in_the_middle_ends_the_stream_with_it(serving):
    hasty = client_of(serving(limits={"request_seconds": 0.001}))
    *_, last = respond(hasty, max_output_tokens=200, stream=True)
    assert last.type == "response.failed"
    assert "took too long" in last.response.error.message
    with pytest.raises(openai.NotFoundError):
        hasty.responses.retrieve(last.response.id)


def test_scores_come_with_their_tokens(client):
    options = {"include": [SCORES], "top_logprobs": 2}
    (item,) = respond(client, **options).output
    (part,) = item.content
    assert "".join(each.token for each in part.logprobs) == part.text
    assert [len(each.top_logprobs) for each in part.logprobs] == [2] * len(part.logprobs)
    events = respond(client, stream=True, **options)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert sum(len(event.logprobs) for event in deltas) == len(part.logprobs)


def test_an_answer_follows_a_schema(client):
    schema = {**TOOL["parameters"]}
    form = {"type": "json_schema", "name": "place", "schema": schema, "strict": True}
    found = respond(client, text={"format": form}, max_output_tokens=60)
    assert json.loads(found.output_text)["city"] in ("Oslo", "Bergen")
    assert found.text.format.name == "place"
    found = respond(client, text={"format": {"type": "json_object"}})
    assert found.output_text.startswith("{")


def test_a_function_is_called_and_its_result_answered(caller):
    choice = {"type": "function", "name": "weather"}
    asked = {"model": "caller", "tools": [TOOL], "max_output_tokens": 200}
    found = respond(caller, tool_choice=choice, **asked)
    (call,) = found.output
    assert (call.type, call.name, call.status) == ("function_call", "weather", "completed")
    assert json.loads(call.arguments)["city"] in ("Oslo", "Bergen")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    chained = respond(caller, [result], previous_response_id=found.id, **asked)
    whole = [{"role": "user", "content": "hello"}, call.to_dict(), result]
    assert respond(caller, whole, **asked).output_text == chained.output_text


def test_a_stream_of_a_call_has_its_events(caller):
    options = {"model": "caller", "tools": [TOOL], "max_output_tokens": 200, "temperature": 0}
    with caller.responses.stream(input="hello", tool_choice="required", **options) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = dict.fromkeys(event.type for event in events)
    assert "response.function_call_arguments.done" in kinds
    assert "response.output_text.delta" not in kinds
    assert {item.type for item in final.output} == {"function_call"}
    (done, *_) = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert done.arguments == final.output[0].arguments


REFUSED = {
    "picture": (
        {"text": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "Item 1 of `input` has a part 'input_image', which is no text",
    ),
    "reference": ({"text": [{"type": "item_reference", "id": "x"}]}, "'item_reference'"),
    "own tool": ({"tools": [{"type": "web_search"}]}, "functions only"),
    "conversation": ({"conversation": "x"}, "`conversation` is not supported here"),
    "stop": ({"extra_body": {"stop": "x"}}, "`stop` is not supported: it is a parameter of chats"),
    "background": ({"background": True}, "`background`"),
    "truncation": ({"truncation": "auto"}, "`truncation`"),
    "reasoning": ({"reasoning": {"effort": "low"}}, "`reasoning` is not supported here"),
    "include": ({"include": ["file_search_call.results"]}, "there is message.output_text.logprobs"),
    "scores": ({"top_logprobs": 2}, "is for requests that include"),
    "choice": ({"tool_choice": "auto"}, "is for requests with tools"),
    "both": (
        {"tools": [TOOL], "text_": {"format": {"type": "json_object"}}},
        "cannot be asked for together",
    ),
    "schema": ({"text_": {"format": {"type": "json_schema", "name": "x"}}}, "which needs both"),
    "verbosity": ({"text_": {"verbosity": "low"}}, "`text`"),
    "nothing": ({"text": []}, "`input`"),
    "message": ({"text": [{"role": "user"}]}, "content"),
    "role": ({"text": [{"role": "robot", "content": "x"}]}, "is by 'robot'"),
    "call": (
        {"text": [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "["}]},
        "is a call without a name or JSON arguments",
    ),
    "markup": ({"max_output_tokens": 0}, "`max_output_tokens` must be 1 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_openais_shape(caller, case):
    options, text = REFUSED[case]
    options = dict(options)
    given = {"input": options.pop("text", "hello"), "model": "caller"}
    if "text_" in options:
        options["text"] = options.pop("text_")
    with pytest.raises(openai.BadRequestError) as refused:
        caller.responses.create(**given, **options)
    assert text in refused.value.message
    assert set(refused.value.response.json()["error"]) == {"message", "type", "param", "code"}
