"""What each layout's values become, and that no wrong value is an error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.chats import as_messages
from tunesmith.data.formats.columns import MULTIPLE_CHOICE
from tunesmith.data.formats.table import FORMATS, recognize
from tunesmith.data.read import check, scan

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_any_value_is_read_or_a_problem_and_never_an_error(name, data):
    format = FORMATS[name]
    row = {column: data.draw(JSON) for column in (*format.columns, *format.optional)}
    notes = RowNotes()
    conversation = format.read(row, notes)
    if not notes.problems:
        check(conversation)


def chosen(gold, choices):
    """What is asked and answered, and what is wrong."""
    notes = RowNotes()
    row = {"query": "q", "choices": choices, "gold": gold}
    return [m.content for m in MULTIPLE_CHOICE.read(row, notes).messages], notes.problems


@pytest.mark.parametrize(
    ("gold", "choices", "answer"),
    [
        (1, ["a", "b"], "b"),
        ("1", ["a", "b"], "b"),
        ("b", ["a", "b"], "b"),
        ("B", {"text": ["x", "y"], "label": ["A", "B"]}, "y"),
        ("2", {"text": ["x", "y"], "label": ["1", "2"]}, "y"),
        (2, {"text": ["x", "y"], "label": ["1", "2"]}, "y"),
        (1, {"text": ["x", "y"], "label": ["A", "B"]}, "y"),
        (1, ["2", "4", "1", "3"], "4"),
        ("4", ["2", "4", "1", "3"], "4"),
        ("1", ["0", "1"], "1"),
        (0, '["a", "b"]', "a"),
        (1, ["a", " b "], "b"),
    ],
)
def test_the_right_choice_is_the_answer(gold, choices, answer):
    assert chosen(gold, choices) == (["q", answer], [])


@pytest.mark.parametrize("gold", [2, -1, True, 1.0, None, "C", "x", [1], {}])
def test_a_choice_that_is_none_is_a_fault(gold):
    _, problems = chosen(gold, ["a", "b"])
    assert [problem.code for problem in problems] == ["wrong_gold"]


@pytest.mark.parametrize(
    ("gold", "choices", "told"),
    [
        ("1", ["2", "4", "1", "3"], "the place of '4', or that choice itself"),
        (0, {"text": ["x", "y"], "label": ["1", "2"]}, "one of the labels, not 0"),
        ("0", {"text": ["x", "y"], "label": ["1", "2"]}, "one of the labels, not '0'"),
    ],
)
def test_a_number_that_could_mean_two_choices_is_a_fault(gold, choices, told):
    _, (problem,) = chosen(gold, choices)
    assert problem.code == "wrong_gold"
    assert told in problem.message


@pytest.mark.parametrize("choices", [[], ["a", 1], "a", {"text": ["a"], "label": "A"}, None])
def test_choices_that_are_no_texts_are_a_fault(choices):
    assert chosen(0, choices)[1]


def test_turns_are_messages_as_openai_writes_them():
    call = {"name": "f", "arguments": {"x": 1}}
    turns = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q", "weight": 0},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "a"},
        {"human": "q2", "assistant": "a2"},
        {"role": "user", "content": "as it is"},
        "no turn",
    ]
    assert [message for turn in turns for message in as_messages(turn)] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q", "weight": 0},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": call}],
        },
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "a2"},
        {"role": "user", "content": "as it is"},
        "no turn",
    ]


def test_turns_that_call_tools_are_calls_with_their_results(write):
    tool = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    call = json.dumps({"name": "f", "arguments": {"x": 1}})
    turns = [("human", "q"), ("function_call", call), ("observation", "3"), ("gpt", "a")]
    row = {"conversations": [{"from": who, "value": said} for who, said in turns]}
    reading = scan(write(row | {"tools": json.dumps([tool]), "system": "s"}))
    assert reading.faults == ()
    (conversation,) = reading.conversations
    roles = ["system", "user", "assistant", "tool", "assistant"]
    assert [message.role for message in conversation.messages] == roles
    (made,) = conversation.messages[2].tool_calls
    assert (made.name, made.arguments) == ("f", {"x": 1})
    assert [dict(each)["function"] for each in conversation.tools] == [tool]
    assert conversation.supervised == (2, 4)


@pytest.mark.parametrize("said", ["no json", "3", '{"arguments": {}}', "[]"])
def test_a_call_that_is_none_is_a_fault(write, said):
    turns = [("human", "q"), ("function_call", said), ("observation", "3"), ("gpt", "a")]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns]}
    assert scan(write(row)).faults


def test_columns_of_a_table_that_hold_lists_are_read_as_json(write):
    header = "query,response,history\n"
    path = write(header + 'q,a,"[[""q0"", ""a0""]]"', "p,b,", name="rows.csv")
    first, second = scan(path).conversations
    assert [m.content for m in first.messages] == ["q0", "a0", "q", "a"]
    assert [m.content for m in second.messages] == ["p", "b"]


@pytest.mark.parametrize("history", ["x", 3, [["q"]], [["q", 1]], ["q", "a"], {"q": "a"}])
def test_a_history_that_is_none_is_a_fault(write, history):
    (fault,) = {
        f.code for f in scan(write({"query": "q", "response": "a", "history": history})).faults
    }
    assert fault == "wrong_type"


def test_answers_of_the_history_are_trained_too(write):
    row = {"query": "q", "response": "a", "history": [["q0", "a0"]]}
    (conversation,) = scan(write(row)).conversations
    assert conversation.supervised == (1, 3)


def test_completions_marked_as_good_or_bad_are_refused(write):
    good = {"prompt": "q", "completion": "a"}
    assert scan(write(good | {"label": "city"})).faults == ()
    (fault,) = scan(write(good | {"label": False})).faults
    assert fault.code == "preference"


def test_a_text_is_one_message_of_its_own_role(write):
    (row,) = scan(write({"text": "once upon a time"})).conversations
    assert (row.is_text, row.supervised) == (True, (0,))
    (fault,) = scan(write({"text": " "})).faults
    assert fault.code == "empty"
    chat = {"messages": [{"role": "text", "content": "once"}]}
    assert "unknown_role" in {fault.code for fault in scan(write(chat)).faults}


def test_a_chat_may_have_its_system_prompt_in_a_column(write):
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"system": "s", "messages": messages}, {"system": None, "messages": messages}]
    first, second = scan(write(*rows)).conversations
    assert [m.role for m in first.messages] == ["system", "user", "assistant"]
    assert [m.role for m in second.messages] == ["user", "assistant"]
    twice = {"system": "s", "messages": [{"role": "system", "content": "t"}, *messages]}
    assert [f.code for f in scan(write(twice)).faults] == ["system_not_first"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": 3},
        {"instruction": "q", "output": 3.0},
        {"question": "q", "answer": 3},
    ],
)
def test_a_number_that_is_an_answer_is_read_as_its_text(write, row):
    reading = scan(write(row, {**row, list(row)[1]: 2.5}))
    assert [c.messages[-1].content for c in reading.conversations] == ["3", "2.5"]
    (note,) = [note for note in reading.notes if note.code == "numbers_as_text"]
    assert note.count == 2


@pytest.mark.parametrize("value", [True, None, float("nan")])
def test_other_values_that_are_no_text_are_faults(write, value):
    path = write({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": value})
    assert [fault.line for fault in scan(path).faults] == [2]


def test_a_number_that_asks_is_a_fault(write):
    path = write({"prompt": "q", "completion": "a"}, {"prompt": 3, "completion": "a"})
    assert [fault.code for fault in scan(path).faults] == ["wrong_type"]


def test_the_system_prompt_and_the_history_of_a_prompt_are_read(write):
    row = {"prompt": "q", "completion": "a", "system": "s", "history": [["q0", "a0"]]}
    (found,) = scan(write(row)).conversations
    assert [m.content for m in found.messages] == ["s", "q0", "a0", "q", "a"]
    assert found.supervised == (4,)


def test_a_question_with_options_is_a_multiple_choice(write):
    rows = [
        {"question": "q", "options": ["x", "y"], "answer": "B"},
        {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "y", "answer_idx": "B"},
        {"question": "q", "options": ["B", "y"], "answer": "y"},
    ]
    reading = scan(write(*rows))
    assert (reading.format, reading.faults) == ("multiple-choice", ())
    assert [c.messages[-1].content for c in reading.conversations] == ["y"] * 3
    assert scan(write({"question": "q", "answer": "a", "options": None})).format == "query-response"


@pytest.mark.parametrize(
    ("options", "answer"),
    [([], "open"), ("red, blue", "red"), (["x", "y"], "The answer is (B)."), (None, "a word")],
)
def test_options_of_which_the_answer_is_none_are_a_column_beside(options, answer):
    row = {"question": "q", "options": options, "answer": answer}
    assert recognize([row])[0] is FORMATS["query-response"]
    chosen_row = {"question": "q", "options": ["x", "y"], "answer": "B"}
    assert recognize([chosen_row])[0] is FORMATS["multiple-choice"]


def test_a_system_prompt_and_a_history_beside_a_prompt_that_has_its_own(write):
    own = [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]
    turns = [{"role": "user", "content": "h"}, {"role": "assistant", "content": "i"}]
    for row, said in (
        ({"prompt": own, "completion": "a", "system": "S"}, ["S", "q", "a"]),
        ({"prompt": "q", "completion": "a", "history": "bought 3 chairs"}, ["q", "a"]),
        ({"prompt": "q", "completion": "a", "history": turns}, ["h", "i", "q", "a"]),
    ):
        reading = scan(write(row))
        assert reading.faults == ()
        assert [message.content for message in reading.conversations[0].messages] == said
