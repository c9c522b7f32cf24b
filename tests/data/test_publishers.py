"""Training files as OpenAI, Together and Mistral document them: every field is used or named.

docs/from-openai.md says what becomes of each.
"""

import json

import pytest

from tests.data.families import FAMILIES
from tunesmith.data.chat_format import study
from tunesmith.data.read import scan
from tunesmith.data.rows import stored
from tunesmith.data.template import render_each

FUNCTION = {
    "name": "get_current_weather",
    "description": "Get the current weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TOOL = {"type": "function", "function": FUNCTION}


def calling(name, **arguments):
    return {"name": name, "arguments": json.dumps(arguments)}


def call(identity):
    function = calling("get_current_weather", city="Oslo")
    return {"id": identity, "type": "function", "function": function}


OPENAI_TOOLS = {
    "messages": [
        {"role": "system", "content": "You report the weather."},
        {"role": "user", "content": "Hi!", "name": "ann"},
        {"role": "assistant", "content": "Good day!", "weight": 0, "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": "Rain in Oslo?"}]},
        {"role": "assistant", "tool_calls": [call("call_1")], "weight": 1},
        {"role": "tool", "tool_call_id": "call_1", "content": "light rain"},
        {"role": "assistant", "content": "A little.", "weight": 1},
    ],
    "tools": [TOOL],
    "parallel_tool_calls": False,
}
OPENAI_FUNCTIONS = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Rain in Oslo?"},
        {"role": "assistant", "function_call": calling("get_current_weather", city="Oslo")},
        {"role": "function", "name": "get_current_weather", "content": "light rain"},
        {"role": "assistant", "content": "A little."},
    ],
    "functions": [FUNCTION],
}
TOGETHER_CHAT = {
    "messages": [
        {"role": "system", "content": "This is a system prompt."},
        {"role": "user", "content": "Hello, how are you?"},
        {"role": "assistant", "content": "Well, thank you!", "weight": 0},
        {"role": "user", "content": "Explain learning."},
        {"role": "assistant", "content": "A program improves.", "weight": 1},
    ]
}
MISTRAL_TOOLS = {
    "messages": [
        {"role": "system", "content": "You have functions."},
        {"role": "user", "content": "Rain in Oslo?"},
        {"role": "assistant", "tool_calls": [call("TX92Jm8Zi")]},
        {"role": "tool", "content": "light rain", "tool_call_id": "TX92Jm8Zi"},
        {"role": "assistant", "content": "A little."},
    ],
    "tools": [TOOL],
}
MISTRAL_CHAT = {
    "messages": [
        {"role": "user", "content": "User interaction 1"},
        {"role": "assistant", "content": "Bot interaction 1"},
        {"role": "user", "content": "User interaction 2"},
        {"role": "assistant", "content": "Bot interaction 2", "weight": 0},
        {"role": "user", "content": "User interaction 3"},
        {"role": "assistant", "content": "Bot interaction 3"},
    ]
}
SOUND = {  # row, the format that it is read as, the weights of its answers
    "openai-tools": (OPENAI_TOOLS, "chat", [0, 1, 1]),
    "openai-functions": (OPENAI_FUNCTIONS, "chat", [1, 1]),
    "together-chat": (TOGETHER_CHAT, "chat", [0, 1]),
    "together-tools": ({**OPENAI_TOOLS}, "chat", [0, 1, 1]),
    "together-instruction": ({"prompt": "Say", "completion": "It"}, "prompt-completion", [1]),
    "together-text": ({"text": "Once upon a time"}, "text", None),
    "mistral-chat": (MISTRAL_CHAT, "chat", [1, 0, 1]),
    "mistral-tools": (MISTRAL_TOOLS, "chat", [1, 1]),
    "mistral-text": ({"text": "Text contained in document 1"}, "text", None),
}
SAID = {"type", "role", "weight"}  # what a value of these keys means is asserted by itself
ROLES = {"developer": "system", "function": "tool"}


def read(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = scan(path)
    conversations = list(reading.conversations)
    return reading, conversations


def leaves(value, keys=()):
    """Every value of a row that is text or a number, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*keys, key))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, keys)
    elif isinstance(value, str) and value.startswith("{"):
        yield from leaves(json.loads(value), keys)
    else:
        yield keys, value


@pytest.mark.parametrize("name", SOUND)
def test_every_field_is_used_or_named(name, tmp_path):
    row, layout, weights = SOUND[name]
    reading, (conversation,) = read(tmp_path / "rows.jsonl", row)
    assert (reading.format, reading.faults) == (layout, ())
    used = stored(conversation).decode()
    named = " ".join(note.message for note in reading.notes)
    for keys, value in leaves(row):
        if not SAID & set(keys) and not any(key in named.split() for key in keys):
            assert json.dumps(value, ensure_ascii=False).strip('"') in used, (keys, value)
    if "messages" in row:
        roles = [ROLES.get(each["role"], each["role"]) for each in row["messages"]]
        assert [message.role for message in conversation.messages] == roles
    if weights is not None:
        answers = [each for each in conversation.messages if each.role == "assistant"]
        assert [message.weight for message in answers] == weights


@pytest.mark.parametrize("name", [name for name in SOUND if "tools" in name or "func" in name])
def test_a_base_whose_template_has_tools_trains_their_calls(name, tmp_path):
    _, conversations = read(tmp_path / "rows.jsonl", SOUND[name][0])
    tokenizer = FAMILIES["qwen2_5"].tokenizer
    (made,) = render_each(tokenizer, conversations, study(tokenizer))
    assert made.faults == ()
    (row,) = made.value
    trained = tokenizer.decode(row.ids[row.weights > 0])
    assert "get_current_weather" in trained
    assert "Oslo" in trained
    assert "Good day!" not in trained


def test_a_base_whose_template_has_none_is_refused_by_name(tmp_path):
    _, conversations = read(tmp_path / "rows.jsonl", OPENAI_TOOLS)
    tokenizer = FAMILIES["smollm2"].tokenizer
    (made,) = render_each(tokenizer, conversations, study(tokenizer))
    assert {fault.code for fault in made.faults} == {"tools_ignored", "tool_calls_ignored"}


PREFERENCE = {
    "input": {"messages": [{"role": "user", "content": "Hi"}], "tools": []},
    "preferred_output": [{"role": "assistant", "content": "Hello"}],
    "non_preferred_output": [{"role": "assistant", "content": "Go away"}],
}
IMAGE = [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (PREFERENCE, "preference"),
        ({"messages": [{"role": "user", "content": "2 + 2"}], "reference_answer": "4"}, None),
        (
            {
                "messages": [
                    {"role": "user", "content": IMAGE},
                    {"role": "assistant", "content": "A cat"},
                ]
            },
            "not_text",
        ),
    ],
)
def test_what_is_not_trained_here_is_a_fault_with_a_way_out(row, code, tmp_path):
    reading, _ = read(tmp_path / "rows.jsonl", row, row)
    assert reading.faults
    assert code is None or reading.faults[0].code == code
    assert all(fault.remedy for fault in reading.faults)
