"""Chats and completions, asked by OpenAI's own client."""

import concurrent.futures
import contextlib
import itertools
import json

import jsonschema
import openai
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from tests.runs.tiny import TEMPLATE, talking_base
from tests.server.conftest import client_of
from tunesmith.data.tokenizer import decode
from tunesmith.generation.sampling import Sampling
from tunesmith.generation.shared_base import SharedBase

HELLO = [{"role": "user", "content": "hello"}]
HALF = "\N{REPLACEMENT CHARACTER}"  # an end that never became a character is left out
NAMES = ("base", "mine", "b", "soft", "prefix")
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def expected(root):
    """What each model answers without a server, greedily."""
    shared = SharedBase.open(str(root / "base"), dtype="float32", device="cpu")
    for name in "mine", "b", "soft", "prefix":
        shared.adapters.load(root / "adapters" / {"mine": "a"}.get(name, name), name=name)
    texts = {}
    for name, question in itertools.product(NAMES, ("hello", "one two", "x" * 40)):
        adapter = None if name == "base" else name
        sampling = Sampling(max_new_tokens=12)
        (text,) = shared.generate([question], adapters=[adapter], sampling=sampling)
        texts[name, question] = text.rstrip(HALF)
    return texts


def ask(client, model="base", question="hello", **options):
    values = {"max_tokens": 12, "temperature": 0, **options}
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=model, messages=messages, **values)


def test_a_chat_is_answered_as_without_a_server(client, expected):
    found = ask(client)
    choice = found.choices[0]
    assert choice.message.content == expected["base", "hello"]
    assert choice.message.role == "assistant"
    assert (found.object, found.model) == ("chat.completion", "base")
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert 0 < found.usage.completion_tokens <= 12


def test_many_models_answer_at_once_as_each_alone(client, expected):
    """More adapters than may be on the base at once; requests of all models in one batch."""
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        asked = {key: workers.submit(ask_until_taken, client, *key) for key in expected}
        found = {key: each.result() for key, each in asked.items()}
    assert found == expected


def ask_until_taken(client, model, question):
    while True:
        with contextlib.suppress(openai.RateLimitError):  # all adapters on the base are in use
            return ask(client, model, question).choices[0].message.content


def test_a_stream_is_the_answer_in_pieces(client, expected):
    stream = ask(client, stream=True, stream_options={"include_usage": True})
    *pieces, last = list(stream)
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == expected["base", "hello"]
    reasons = [piece.choices[0].finish_reason for piece in pieces]
    assert reasons == [None] * (len(pieces) - 1) + [ask(client).choices[0].finish_reason]
    assert last.choices == []
    assert last.usage == ask(client).usage
    assert len({piece.id for piece in pieces}) == 1


def test_a_stop_text_ends_an_answer_and_is_not_in_it(client, expected):
    whole = expected["base", "hello"]
    stop = whole[2:4]
    for options in ({}, {"stream": True}):
        found = ask(client, stop=[stop], **options)
        if options:
            pieces = [piece.choices[0] for piece in found]
            text = "".join(piece.delta.content or "" for piece in pieces)
            reason = pieces[-1].finish_reason
        else:
            text, reason = found.choices[0].message.content, found.choices[0].finish_reason
        assert text == whole[: whole.index(stop)]
        assert reason == "stop"


def test_thinking_is_no_content_and_no_stop_text_is_looked_for_in_it(serving, tmp_path_factory):
    template = TEMPLATE + "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
    client = client_of(serving(base=talking_base(tmp_path_factory.mktemp("t") / "base", template)))
    choice = ask(client, stop=list("abcdefgh")).choices[0]
    thought = choice.message.reasoning_content
    assert (choice.message.content, choice.finish_reason) == ("", "length")
    assert thought
    streamed = [piece.choices[0].delta for piece in ask(client, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in streamed) == thought
    assert not any(delta.content for delta in streamed)
    found = client.responses.create(
        model="base", input="hello", temperature=0, max_output_tokens=12
    )
    assert [item.type for item in found.output] == ["reasoning", "message"]
    assert found.output[0].content[0].text == thought
    assert 0 < found.usage.output_tokens_details.reasoning_tokens <= 12
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert ask(client, response_format=form).choices[0].message.content.startswith("{")


def test_a_seed_draws_the_same_again_and_each_choice_draws_its_own(client):
    def drawn(**options):
        found = ask(client, temperature=1.5, n=3, max_tokens=20, **options)
        assert [choice.index for choice in found.choices] == [0, 1, 2]
        return [choice.message.content for choice in found.choices]

    one = drawn(seed=5)
    assert drawn(seed=5) == one
    assert len(set(one)) == 3
    assert drawn(seed=6) != one
    assert drawn() != drawn()


def test_the_limit_ends_an_answer_with_length(client):
    choice = ask(client, max_tokens=2).choices[0]
    assert choice.finish_reason == "length"
    choice = ask(client, max_tokens=None, max_completion_tokens=3).choices[0]
    assert choice.finish_reason == "length"


def test_scores_come_with_their_tokens(client):
    choice = ask(client, logprobs=True, top_logprobs=3).choices[0]
    content = choice.logprobs.content
    assert "".join(each.token for each in content) == choice.message.content
    for each in content:
        assert each.logprob == each.top_logprobs[0].logprob <= 0
        assert each.token == each.top_logprobs[0].token
        assert len(each.top_logprobs) == 3
        assert bytes(each.bytes).decode() == each.token
    streamed = [piece.choices[0] for piece in ask(client, logprobs=True, stream=True)]
    scores = [s.logprob for piece in streamed if piece.logprobs for s in piece.logprobs.content]
    assert scores == pytest.approx([each.logprob for each in content], abs=1e-4)


def test_what_was_asked_before_is_counted_as_cached(client):
    system = {"role": "system", "content": "w" * 60}
    counts = []
    for question in ("one", "two"):
        messages = [system, {"role": "user", "content": question}]
        made = client.chat.completions.create(model="base", messages=messages, max_tokens=2)
        counts.append(made.usage.prompt_tokens_details.cached_tokens)
    assert counts[1] >= 60


def test_content_can_be_in_parts(client, expected):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert ask(client, question=parts).choices[0].message.content == expected["base", "hello"]


def test_a_completion_continues_a_text_or_tokens(client, server):
    asked = {"model": "base", "temperature": 0, "max_tokens": 6}
    text = client.completions.create(prompt="hello", logprobs=2, **asked)
    tokenizer = server._served.shared.loaded.base.tokenizer
    ids = tokenizer.encode("hello", add_special_tokens=False)
    several = client.completions.create(prompt=[ids, ids], **asked)
    assert [choice.text for choice in several.choices] == [text.choices[0].text] * 2
    assert text.usage.prompt_tokens == len(ids)
    scores = text.choices[0].logprobs
    assert "".join(scores.tokens) == text.choices[0].text
    assert [len(each) for each in scores.top_logprobs] == [2] * len(scores.tokens)
    assert scores.text_offset[0] == 0
    streamed = client.completions.create(prompt="hello", stream=True, **asked)
    assert "".join(piece.choices[0].text for piece in streamed) == text.choices[0].text
    assert decode(tokenizer, ids) == "hello"


def test_a_text_begins_as_in_training_and_token_ids_are_as_they_are(serving, tmp_path_factory):
    folder = talking_base(tmp_path_factory.mktemp("first") / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = tokenizer.bos_token, tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first[0]} $A", special_tokens=[first]
    )
    tokenizer.save_pretrained(folder)
    client = client_of(serving(base=folder))

    def read(prompt):
        found = client.completions.create(model="base", prompt=prompt, max_tokens=1)
        return found.usage.prompt_tokens

    ids = tokenizer.encode("hello", add_special_tokens=False)
    assert read("hello") == read(first[0] + "hello") == len(ids) + 1
    assert read(ids) == len(ids)


def test_models_are_listed_with_their_base(client):
    found = {model.id: model for model in client.models.list()}
    assert set(found) == {"base", "mine", "a", "b", "soft", "prefix"}
    assert found["base"].parent is None
    assert found["b"].parent == "base"
    assert client.models.retrieve("soft").id == "soft"


def test_the_model_of_a_full_run_goes_by_the_name_of_the_run(serving, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "mine-full"
    talking_base(run / "model")
    (run / "config.yaml").write_text("model: base\n")
    server = serving(base=run)
    assert server.models == ("mine-full",)
    assert ask(client_of(server), "mine-full", max_tokens=1).model == "mine-full"


REFUSED = {
    "model": ({"model": "nope"}, 404, "model_not_found", "There is no model 'nope'"),
    "path": ({"model": "../base"}, 404, "model_not_found", "There is no model"),
    "long": ({"question": "x " * 500}, 400, "context_length_exceeded", "no room"),
    "temperature": ({"temperature": -1}, 400, "invalid", "`temperature` must be 0 or more"),
    "tokens": ({"max_tokens": 0}, 400, "invalid", "`max_tokens` must be 1 or more"),
    "n": ({"n": 99}, 400, "invalid", "`n` must be 16 or less"),
    "stops": ({"stop": ["x"] * 10_000}, 400, "invalid", "at most 16"),
    "penalty": ({"presence_penalty": 3}, 400, "invalid", "`presence_penalty` must be 2 or less"),
    "bias": ({"logit_bias": {"1": 101}}, 400, "invalid", "numbers from -100 to 100"),
    "bias of none": ({"logit_bias": {"99999": 1}}, 400, "no_token", "is no token of the model"),
    "unknown": (
        {"extra_body": {"temprature": 1}},
        400,
        "unknown_parameter",
        "`temprature` is not supported here. Did you mean `temperature`?",
    ),
    "top": ({"top_logprobs": 2}, 400, "invalid", "logprobs: true"),
    "usage": ({"stream_options": {"include_usage": True}}, 400, "invalid", "stream: true"),
    "tools": ({"tools": [TOOL]}, 400, "tools_ignored", "leaves out tools"),
    "picture": (
        {"question": [{"type": "image_url", "image_url": {"url": "x"}}]},
        400,
        "not_text",
        "is no text (image_url)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_openais_shape(client, case):
    options, status, code, text = REFUSED[case]
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, **options)
    assert refused.value.status_code == status
    assert refused.value.code == code
    assert text in refused.value.message
    assert set(refused.value.response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_call_that_the_template_leaves_out_is_refused_as_that(client):
    function = {"name": "weather", "arguments": "{}"}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    said = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}]
    said.append({"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"})
    with pytest.raises(openai.BadRequestError, match="leaves out tool calls") as refused:
        client.chat.completions.create(model="base", messages=said, max_tokens=2)
    assert refused.value.code == "tool_calls_ignored"


def test_no_answer_of_the_server_names_a_place_of_it(client, root):
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, model="nope")
    texts = [refused.value.message, client.models.list().model_dump_json()]
    assert not any(str(root) in text for text in texts)


def test_tokens_that_the_model_does_not_have_are_refused(client):
    with pytest.raises(openai.BadRequestError, match="no token of the model"):
        client.completions.create(model="base", prompt=[1, 99_999])
    with pytest.raises(openai.BadRequestError, match="must be a text"):
        client.completions.create(model="base", prompt="")


def test_an_answer_is_json(client):
    raw = client.chat.completions.with_raw_response.create(
        model="base", messages=HELLO, max_tokens=2
    )
    assert raw.headers["content-type"] == "application/json"
    assert json.loads(raw.text)["choices"][0]["index"] == 0


SCHEMA = {
    "type": "object",
    "properties": {"intent": {"enum": ["refund", "order"]}, "count": {"type": "integer"}},
    "required": ["intent", "count"],
    "additionalProperties": False,
}


def test_an_answer_follows_a_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    asked = {"temperature": 1.5, "n": 8, "max_tokens": 100, "seed": 1}
    found = ask(client, response_format=form, **asked).choices
    whole = [choice for choice in found if choice.finish_reason == "stop"]
    assert whole
    for choice in whole:
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)
    (choice,) = ask(client, response_format={"type": "json_object"}).choices
    assert choice.message.content.startswith("{")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no"}}}, "schema"),
        ({"type": "json_schema"}, "which needs one"),
        ({"type": "yaml"}, "must be"),
    ],
)
def test_a_wrong_form_of_an_answer_is_refused(client, form, text):
    with pytest.raises(openai.BadRequestError, match=text):
        ask(client, response_format=form)
