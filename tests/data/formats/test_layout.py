"""Tools of a row: read however they are written, told where they are none."""

import json

import pytest

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.layout import parse_tools
from tunesmith.data.read import scan

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    "row",
    [
        {"tools": [TOOL]},
        {"tools": [FUNCTION]},
        {"tools": json.dumps([TOOL])},
        {"functions": [FUNCTION]},
        {"tools": None, "functions": [FUNCTION]},
    ],
)
def test_a_tool_is_the_same_however_it_is_written(row):
    into = RowNotes()
    assert parse_tools(row, into) == (TOOL,)
    assert into.problems == []


def test_what_a_tool_has_besides_its_function_is_kept():
    assert parse_tools({"tools": [{**TOOL, "strict": True}]}, RowNotes()) == (
        {**TOOL, "strict": True},
    )


@pytest.mark.parametrize("row", [{}, {"tools": None}, {"tools": []}, {"tools": ""}])
def test_a_row_may_have_no_tools(row):
    assert parse_tools(row, RowNotes()) == ()


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ({"name": "f"}, "an object"),
        ("f", "text"),
        ([3], "tool 1"),
        ([TOOL, {"function": {}}], "tool 2"),
        ([{"name": "f", "parameters": json.loads("[" * 70 + "]" * 70)}], "64 levels"),
        ([{"name": "f", "parameters": {"maximum": float("inf")}}], "no number inf"),
    ],
)
def test_what_is_no_tool_is_told(tools, said):
    into = RowNotes()
    parse_tools({"tools": tools}, into)
    (problem,) = into.problems
    assert problem.code == "wrong_type"
    assert said in problem.message


@pytest.mark.parametrize(
    "row", [{"messages": TURNS}, {"prompt": TURNS[:1], "completion": TURNS[1:]}]
)
def test_both_layouts_of_messages_take_tools(write, row):
    reading = scan(write({**row, "tools": [TOOL]}))
    (conversation,) = reading.conversations
    assert conversation.tools == (TOOL,)
    assert reading.notes == ()
