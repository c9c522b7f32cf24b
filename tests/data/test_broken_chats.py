"""Chat rows with anything anywhere: each is a document or a fault of its line."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.families import FAMILIES
from tunesmith.data.chat_format import study
from tunesmith.data.read import scan
from tunesmith.data.template import Rendering, render_each

CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
GOOD = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "q"}], "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 1},
        {"role": "tool", "content": "22", "tool_call_id": "abcdefghi"},
        {"role": "assistant", "content": "a", "reasoning_content": "t"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
CONTROL = st.sampled_from(
    ["<|im_end|>", "</think>", "<think>", "[INST]", "\ud83d", "\x00", "\U000f0000"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | CONTROL,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
FORMATS = {name: study(FAMILIES[name].tokenizer) for name in ("qwen3", "mistral_nemo", "gpt_oss")}
HOW = [Rendering("row", "refuse"), Rendering("answer", "text")]


def places(value, path=()):
    """The path to every value in a JSON value."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key, item in ((key, value[key]) for key in keys):
        yield from places(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


PLACES = [path for path in places(GOOD) if path]


@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=2))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_anything_anywhere_is_a_document_or_a_fault(tmp_path_factory, changes):
    row = GOOD
    for path, new in changes:
        if path in set(places(row)):
            row = changed(row, path, new)
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{json.dumps(row)}\n", encoding="utf-8")
    reading = scan(file, format="chat")
    assert {fault.line for fault in reading.faults} <= {2}
    assert reading.conversations[0].line == 1
    for name, chat_format in FORMATS.items():
        for how in HOW:
            tokenizer = FAMILIES[name].tokenizer
            conversations = reading.conversations
            outcomes = render_each(tokenizer, conversations, chat_format, how)
            for conversation, each in zip(conversations, outcomes, strict=True):
                assert each.faults or each.value
                assert all(row.weights.any() for row in each.value)
                assert {fault.line for fault in each.faults} <= {conversation.line}
